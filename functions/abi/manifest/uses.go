package manifest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A Use is a value of a configuration of which the schema says what it is used for.
type Use struct {
	Path  string // "config.command", "config.secretHeaders.authorization"
	Grant abi.Grant
	Words []string // the command; of any other grant the one text
}

// Uses returns the values of a configuration, as ApplyConfig returns it, that a schema says must be granted, in the order of their paths.
func Uses(s *abi.Schema, config []byte) ([]Use, error) {
	if s == nil || len(config) == 0 {
		return nil, nil
	}
	v, err := decode(config)
	if err != nil {
		return nil, &ConfigError{"config", err.Error()}
	}
	return uses(nil, "config", s, v), nil
}

// uses appends what v and all below it are used for. Nesting is as deep as apply has let it be.
func uses(all []Use, path string, s *abi.Schema, v any) []Use {
	if s == nil {
		return all
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			sub := s.Properties[k]
			if sub == nil {
				sub = s.Additional
			}
			all = uses(all, path+"."+k, sub, v[k])
		}
	case []any:
		if s.Grant == abi.GrantCommand {
			return append(all, Use{path, s.Grant, texts(v)})
		}
		for i := range v {
			all = uses(all, fmt.Sprintf("%s[%d]", path, i), s.Items, v[i])
		}
	case string:
		if s.Grant != "" {
			all = append(all, Use{path, s.Grant, []string{v}})
		}
	}
	return all
}

func texts(list []any) []string {
	words := make([]string, 0, len(list))
	for _, w := range list {
		text, _ := w.(string) // the schema says so
		words = append(words, text)
	}
	return words
}

package capability

import (
	"encoding/json"
	"errors"
	"fmt"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	kjson "sigs.k8s.io/json"
)

// decode reads a guest's request: keys are case sensitive, unknown and repeated ones are errors. No request counts as {}.
func decode(request []byte, into any) error {
	if len(request) == 0 {
		request = []byte("{}")
	}
	strict, err := kjson.UnmarshalStrict(request, into)
	if err == nil {
		err = errors.Join(strict...)
	}
	if err != nil {
		return invalid("the request: %v", err)
	}
	return nil
}

// recall reads back what an operation itself made canonical.
func recall(canonical json.RawMessage, into any) error {
	if err := json.Unmarshal(canonical, into); err != nil {
		return fmt.Errorf("read canonical request: %w", err)
	}
	return nil
}

// mustJSON encodes values of this package's own types, which always can be encoded.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// fields are values compared with objects: whole numbers are int64 in them, as the API machinery has it.
type fields map[string]any

func (f *fields) UnmarshalJSON(b []byte) error {
	return utiljson.Unmarshal(b, (*map[string]any)(f))
}

package capability

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// An ExecGrant is commands that may be run, and where. What is left out narrows nothing but reach.
type ExecGrant struct {
	Commands   [][]string  `json:"commands" yaml:"commands"` // each word for word: there is no pattern and no shell
	Namespaces []string    `json:"namespaces,omitempty" yaml:"namespaces,omitempty"`
	Selector   string      `json:"selector,omitempty" yaml:"selector,omitempty"` // labels the pod has, as kubectl -l takes them
	Containers []string    `json:"containers,omitempty" yaml:"containers,omitempty"`
	Timeout    ExecTimeout `json:"timeout,omitempty" yaml:"timeout,omitempty"` // of one command. 1s to 8s. Default 5s
}

// ExecTimeout is how long a command may take, written as 5s. The zero value means the default.
type ExecTimeout time.Duration

// The most is below a runtime's lease: a command that outlives it may be run by another runtime's leave.
const (
	defaultExecTimeout = 5 * time.Second
	maxExecTimeout     = 8 * time.Second
)

// UnmarshalText reads a duration.
func (t *ExecTimeout) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d < time.Second || d > maxExecTimeout {
		return fmt.Errorf("%q is not within 1s and %s", b, maxExecTimeout)
	}
	*t = ExecTimeout(d)
	return nil
}

// MarshalText writes it as UnmarshalText reads it.
func (t ExecTimeout) MarshalText() ([]byte, error) { return []byte(time.Duration(t).String()), nil }

func (g ExecGrant) timeout() time.Duration {
	if g.Timeout == 0 {
		return defaultExecTimeout
	}
	return time.Duration(g.Timeout)
}

// Check reports what is wrong with the grant, and under which of its keys.
func (g ExecGrant) Check() (key string, err error) {
	if len(g.Commands) == 0 {
		return ".commands", errors.New("is missing: each is a list of words, such as [cat, /proc/net/tcp]")
	}
	for i, c := range g.Commands {
		if err := checkCommand(c); err != nil {
			return ".commands[" + strconv.Itoa(i) + "]", err
		}
	}
	if _, err := labels.Parse(g.Selector); err != nil {
		return ".selector", err
	}
	return "", nil
}

const maxWords = 64

func checkCommand(words []string) error {
	if len(words) == 0 || words[0] == "" {
		return errors.New("the command is missing")
	}
	size := 0
	for _, w := range words {
		if strings.ContainsRune(w, 0) {
			return fmt.Errorf("%q holds a NUL", w)
		}
		size += len(w)
	}
	if len(words) > maxWords || size > abi.MaxExecCommand {
		return fmt.Errorf("the command has %d words and %d bytes; %d and %d are allowed", len(words), size, maxWords, abi.MaxExecCommand)
	}
	return nil
}

// execGrants are the grants that cover a command in a namespace, and in a container unless that is not known yet. If there is none, the
// error says what there is.
func (g Grants) execGrants(namespace, container string, command []string) ([]ExecGrant, error) {
	if len(g.Exec) == 0 {
		return nil, denied("exec is not granted; the grant that is missing is exec: [{commands: [%s]}]", words(command))
	}
	var found []ExecGrant
	elsewhere := false
	for _, e := range g.Exec {
		if !slices.ContainsFunc(e.Commands, func(c []string) bool { return slices.Equal(c, command) }) {
			continue
		}
		elsewhere = true
		if among(e.Namespaces, namespace) && (container == "" || among(e.Containers, container)) {
			found = append(found, e)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case elsewhere:
		return nil, denied("exec of %s is granted, but not in container %q of namespace %q", words(command), container, namespace)
	}
	return nil, denied("exec of %s is not granted; the nearest that is: %s", words(command), words(g.nearestCommand(command)))
}

// among reports whether a list that narrows holds s; an empty one does not narrow.
func among(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }

// nearestCommand is the granted command that shares the most words with the one asked for, from the first on.
func (g Grants) nearestCommand(command []string) []string {
	var best []string
	most := -1
	for _, e := range g.Exec {
		for _, c := range e.Commands {
			same := 0
			for same < min(len(c), len(command)) && c[same] == command[same] {
				same++
			}
			if same > most {
				best, most = c, same
			}
		}
	}
	return best
}

// words shows a command as a list, so that no two look the same.
func words(command []string) string {
	return string(mustJSON(command))
}

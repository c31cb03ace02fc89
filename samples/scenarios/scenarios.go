// Package scenarios holds what an attacker, or a clumsy colleague, does: for each rule the system calls that make it fire, and a near miss
// that does not. The tables are the YAML files, actor/ is the program that makes the calls, README.md says how to run one by hand; test/e2e
// runs them all. The directory exfiltration is a story of its own.
package scenarios

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// FS has the tables and the actor's source at its root.
//
//go:embed *.yaml actor
var FS embed.FS

// An Act is a script and the place it is played in.
type Act struct {
	On         string   `yaml:"on"`         // host or container. Default container.
	Start      bool     `yaml:"start"`      // in a container of its own, as its first process
	Privileged bool     `yaml:"privileged"` // in a container that may do everything
	Caps       []string `yaml:"caps"`       // capabilities beyond a container's usual ones
	User       int      `yaml:"user"`       // default 0
	Terminal   bool     `yaml:"terminal"`   // as kubectl exec -t does
	Mount      string   `yaml:"mount"`      // where the container's runtime says that a directory of the host is mounted
	Image      string   `yaml:"image"`      // what it says the container is made of. Default Image.
	Do         string   `yaml:"do"`         // the actor's script
}

// Image is what the containers of scenarios are made of, by what their runtime says.
const Image = "registry.example.com/shop/web:1.4"

// A Scenario makes one rule fire, or one event appear.
type Scenario struct {
	Rule  string // what fires; empty if the scenario is of an event
	Event string // what appears
	// Bypass is an attempt not to be seen, in words; empty if the scenario is none. The rule Rule of our own sees it.
	Bypass string
	Act    Act
	// Near is the near miss; nil for bypasses.
	Near *Act
	// Want are fields of the match. $CWD stands for the working directory.
	Want map[string]string
	// Open says what gets through; empty if nothing does. Through says that all of it does: the rule is silent, and the test fails
	// when that changes.
	Open    string
	Through bool
	// Count is how many matches there are at least, all of them with the fields of Want.
	Count int
	// Every says that the actor tells how often it succeeded, and that there are at least as many matches.
	Every bool
	// Why says why the rule cannot be made to fire where the tests run; then there is nothing to do.
	Why string
	// By says how an event is made beside the system call of its name: ia32, int80, uring.
	By []string
}

// UnmarshalYAML reads a scenario. The near miss is another script, or the keys of Act that differ.
func (s *Scenario) UnmarshalYAML(n *yaml.Node) error {
	var raw struct {
		Rule    string            `yaml:"rule"`
		Event   string            `yaml:"event"`
		Bypass  string            `yaml:"bypass"`
		Act     `yaml:",inline"`  // of the scenario itself
		Near    yaml.Node         `yaml:"near"`
		Want    map[string]string `yaml:"want"`
		Open    string            `yaml:"open"`
		Through bool              `yaml:"through"`
		Why     string            `yaml:"why"`
		Count   int               `yaml:"count"`
		Every   bool              `yaml:"every"`
		By      []string          `yaml:"by"`
	}
	if err := n.Decode(&raw); err != nil {
		return err
	}
	*s = Scenario{
		Rule: raw.Rule, Event: raw.Event, Bypass: raw.Bypass, Act: raw.Act, Want: raw.Want, Open: raw.Open, Through: raw.Through,
		Count: raw.Count, Every: raw.Every, Why: raw.Why, By: raw.By,
	}
	if s.Act.On == "" {
		s.Act.On = "container"
	}
	if s.Act.Image == "" {
		s.Act.Image = Image
	}
	s.Act.Do = strings.TrimSpace(s.Act.Do)
	if raw.Near.IsZero() {
		return nil
	}
	near := s.Act
	if raw.Near.Kind == yaml.ScalarNode {
		near.Do = raw.Near.Value
	} else {
		near.Caps = nil
		if err := raw.Near.Decode(&near); err != nil {
			return err
		}
		if !strings.Contains(mappingKeys(&raw.Near), " caps ") {
			near.Caps = s.Act.Caps
		}
	}
	s.Near = &near
	return nil
}

func mappingKeys(n *yaml.Node) string {
	keys := " "
	for i := 0; i < len(n.Content); i += 2 {
		keys += n.Content[i].Value + " "
	}
	return keys
}

// Load reads a table.
func Load(name string) ([]Scenario, error) {
	data, err := FS.ReadFile(name)
	if err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var list []Scenario
	if err := dec.Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, s := range list {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("%s: scenario %d: %w", name, i+1, err)
		}
	}
	return list, nil
}

func (s *Scenario) check() error {
	switch {
	case s.Act.Do == "" && s.Why == "":
		return errors.New("do is missing")
	case s.Rule == "" && s.Event == "":
		return errors.New("one of rule and event is wanted")
	case s.Act.On != "host" && s.Act.On != "container":
		return fmt.Errorf("on: %q is neither host nor container", s.Act.On)
	case s.Near == nil && s.Event != "":
		return errors.New("near is missing")
	case s.Near != nil && s.Near.String() == s.Act.String():
		return errors.New("the near miss is the same thing")
	}
	return nil
}

// String says what is done where, in a line.
func (a *Act) String() string {
	var where []string
	add := func(ok bool, s string) {
		if ok {
			where = append(where, s)
		}
	}
	add(a.On == "host", "host")
	add(a.On == "container" && !a.Start && !a.Privileged, "container")
	add(a.Privileged, "privileged container")
	add(a.Start && !a.Privileged, "new container")
	for _, c := range a.Caps {
		add(true, c)
	}
	add(a.User != 0, fmt.Sprintf("uid %d", a.User))
	add(a.Terminal, "terminal")
	add(a.Mount != "", "mount "+a.Mount)
	add(a.Image != Image, a.Image)
	return strings.Join(where, ", ") + ": " + a.Do
}

package capability

import (
	"fmt"
	"slices"
	"strings"
)

// CoversCommand refuses a command that no grant of exec lists, or that none lists for the container; "" is for any. In which namespace it
// is run only the event says.
func (g Grants) CoversCommand(command []string, container string) error {
	var granted []string
	elsewhere := false
	for _, e := range g.Exec {
		for _, c := range e.Commands {
			granted = append(granted, words(c))
			if !slices.Equal(c, command) {
				continue
			}
			if container == "" || among(e.Containers, container) {
				return nil
			}
			elsewhere = true
		}
	}
	if elsewhere {
		return fmt.Errorf("grants.exec lists %s, but not for container %q: add it to its containers", words(command), container)
	}
	return fmt.Errorf("%s is no command that grants.exec lists; it has %s", words(command), strings.Join(granted, ", "))
}

// CoversURL refuses a URL that no grant of http covers.
func (g Grants) CoversURL(raw string) error {
	u, err := parseURL(raw)
	if err != nil {
		return err
	}
	if g.allowsURL(u) == nil {
		return nil
	}
	return fmt.Errorf("%s://%s%s is not below a URL that grants.http lists; it has %s", u.Scheme, u.Host, u.EscapedPath(), strings.Join(g.HTTP, ", "))
}

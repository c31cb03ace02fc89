package sensor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	c := DefaultConfig()
	c.Node, c.Format, c.HTTPOutput, c.Waiting, c.DrainTimeout, c.RuntimeSockets = "Box!", "xml", "ftp://x", 0, -1, []string{"lxc:/x"}
	c.IdentityTimeout = time.Minute
	err := c.Validate()
	var got []string
	for line := range strings.Lines(fmt.Sprint(err)) {
		path, _, _ := strings.Cut(line, ":")
		got = append(got, path)
	}
	want := []string{"node", "format", "httpOutput", "drainTimeout", "identityTimeout", "waiting", "runtimeSockets[0]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s\n%v", diff, err)
	}
}

package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tiercel-project/tiercel/sensor"
)

// topLosses is how many containers are named of those that lost records.
const topLosses = 8

// containerLosses says which containers lost records, if any did.
func (e *Env) containerLosses(ctx context.Context) []Finding {
	resp, err := e.get(ctx, "/losses")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil // a tiercel without a sensor
	}
	var list []sensor.ContainerLoss
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&list); err != nil {
		return []Finding{found(Unknown, "which containers lost records: %v", err).hint("is this doctor of the same version as the tiercel that runs?")}
	}
	var fs []Finding
	for i := range list {
		if i == topLosses {
			fs = append(fs, found(Note, "%d more containers lost records; the log names them", len(list)-topLosses))
			break
		}
		fs = append(fs, judgeLoss(&list[i], time.Now()))
	}
	return fs
}

// judgeLoss says what a container lost, what that means and what to do.
func judgeLoss(c *sensor.ContainerLoss, now time.Time) Finding {
	var lost, hints []string
	if c.Event > 0 {
		lost = append(lost, fmt.Sprintf("%d of its system calls", c.Event))
		hints = append(hints, "narrow the rules that ask for what it does most (`most left for the rules to decide`, above), or raise --ring-bytes")
	}
	if c.Process > 0 {
		lost = append(lost, fmt.Sprintf("%d of its processes (they were read again)", c.Process))
		hints = append(hints, "it starts more programs at once than find room: slow it down, or raise --process-ring-bytes")
	}
	return found(Action, "%s lost records of %s since the start, the last %s ago: rules did not see them", who(c), strings.Join(lost, " and "),
		max(now.Sub(c.Last), 0).Round(time.Second)).hint(strings.Join(hints, "; "))
}

// who names a container as one would look for it.
func who(c *sensor.ContainerLoss) string {
	switch {
	case c.Others > 0:
		return fmt.Sprintf("%d other containers together", c.Others)
	case c.Container == "host":
		return fmt.Sprintf("the host's cgroup %s", c.Cgroup)
	case c.Pod != "":
		return fmt.Sprintf("container %s (%s) of pod %s/%s", c.Name, c.Container, c.Namespace, c.Pod)
	case c.Name != "":
		return fmt.Sprintf("container %s (%s)", c.Name, c.Container)
	}
	return fmt.Sprintf("container %s (cgroup %s)", c.Container, c.Cgroup)
}

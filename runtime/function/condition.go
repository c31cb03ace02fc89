package function

import (
	"errors"

	"github.com/tiercel-project/tiercel/bus"
)

// A condition is a compiled trigger condition.
type condition struct{}

func compileCondition(text string) (*condition, error) {
	return nil, errors.New("conditions are not supported by this build")
}

func (c *condition) holds(*bus.Event, *bus.MatchData) bool { return false }

package sensorcmd

import (
	"errors"
	"io/fs"

	"github.com/tiercel-project/tiercel/sensor/capture"
)

// captureHint is what to do about an error of a capture; empty if nobody knows.
func captureHint(err error) string {
	switch {
	case errors.Is(err, capture.ErrTruncated):
		return "the recorder was stopped hard, or the copy is not complete; what is whole was used"
	case errors.Is(err, capture.ErrDamaged):
		return "what stands before that place was used; copy the file again if it was copied"
	case errors.Is(err, capture.ErrNoCapture):
		return "tiercel sensor record makes captures"
	case errors.Is(err, fs.ErrExist):
		return "an earlier capture is never written over: name another file, or remove it"
	}
	return ""
}

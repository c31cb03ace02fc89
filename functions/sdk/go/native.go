//go:build !wasip1

package tiercel

import (
	"errors"

	"github.com/tiercel-project/tiercel/functions/abi"
)

type host struct{ Host }

func perform(op string, request []byte) (response []byte, failed bool, err error) {
	response, err = current.host.Call(op, request)
	return padded(response), false, err
}

func writeLine(level abi.Level, line []byte) { current.host.Log(level, string(line)) }

func padded(data []byte) []byte {
	text := allocText(len(data))
	copy(text, data)
	return text
}

// Run handles one event outside a runtime, with operations and log going to host: for a function's own tests. It returns how the
// invocation ended. It does not exist in a module.
func Run(host Host, event []byte) (abi.Result, error) {
	current.host.Host = host
	status, output := run(padded(event))
	res := abi.Result{Outcome: abi.OutcomeSucceeded}
	if len(output) == 0 {
		return res, nil
	}
	v, err := ParseJSON(output)
	if err != nil {
		return res, err
	}
	res = abi.Result{
		Outcome: abi.Outcome(v.Get("outcome").String()),
		Code:    Code(v.Get("code").String()),
		Text:    v.Get("text").String(),
		Retry:   v.Get("retry").Bool(),
	}
	if data := v.Get("data"); data.Exists() {
		res.Data = abi.Raw(data.Raw())
	}
	if (status == abi.StatusFailed) != (res.Outcome == abi.OutcomeFailed) {
		return res, errors.New("status and outcome disagree")
	}
	return res, nil
}

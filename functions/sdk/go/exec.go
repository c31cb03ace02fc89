package tiercel

import "github.com/tiercel-project/tiercel/functions/abi"

// An Executed is what became of a command.
type Executed struct {
	ExitCode       int
	Stdout, Stderr string // at most the first 256 KiB, of each
	Truncated      bool   // either was longer
	DryRun         bool   // nothing was run
}

// Exec runs a command in a container, without a shell and without input. It must be, word for word, one that the grant lists. container may
// be empty if there is only one. An exit code other than 0 is no error.
func (p Pod) Exec(container string, command ...string) (Executed, error) {
	if !p.Exists() {
		return Executed{}, ErrNoPod
	}
	words := make(List, len(command))
	for i, word := range command {
		words[i] = word
	}
	q := newRequest().text("namespace", p.namespace).text("container", container).text("pod", p.name).text("uid", p.uid)
	v, err := q.value("command", words).send(abi.OpExec)
	if err != nil {
		return Executed{}, err
	}
	return Executed{
		ExitCode: int(v.Get("exitCode").Int()), Stdout: v.Get("stdout").String(), Stderr: v.Get("stderr").String(),
		Truncated: v.Get("truncated").Bool(), DryRun: v.Get("dryRun").Bool(),
	}, nil
}

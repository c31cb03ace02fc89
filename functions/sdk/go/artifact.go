package tiercel

import "github.com/tiercel-project/tiercel/functions/abi"

// Artifact keeps text as evidence: it is listed with the action under its name. It returns the text's digest.
func Artifact(name, text string) (digest string, err error) {
	v, err := newRequest().key("name").appendText(name).key("text").appendText(text).send(abi.OpArtifactPut)
	return v.Get("digest").String(), err
}

package abi

// MaxArtifact bounds the bytes of an artifact's text.
const MaxArtifact = 512 << 10

// ArtifactPut is the request of artifact.put: text that is kept as evidence, listed with the action under its name. Name has 1 to 128 bytes of
// [A-Za-z0-9_-] and ".", none at either end. The same name again stands beside the first; who asks for it gets the last.
type ArtifactPut struct {
	Name        string `json:"name"`
	ContentType string `json:"contentType,omitempty"` // default text/plain
	Text        string `json:"text"`                  // at most MaxArtifact bytes
}

// Artifact is the response of artifact.put.
type Artifact struct {
	Digest string `json:"digest"` // sha256:<hex> of the text, by which it is stored
	Size   int64  `json:"size"`
	DryRun bool   `json:"dryRun,omitempty"` // not kept
}

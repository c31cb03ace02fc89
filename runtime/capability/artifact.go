package capability

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/functions/abi"
)

var artifactName = regexp.MustCompile(`^[A-Za-z0-9_-]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9_-])?$`)

// An ArtifactCall is the canonical form of artifact.put: what is kept, without the text itself.
type ArtifactCall struct {
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
	Digest      string `json:"digest"` // of the text, which is stored under it
	Size        int64  `json:"size"`
}

// artifactPutOp is artifact.put. The text is stored by its digest when the call is prepared, so that neither journal nor a later attempt
// needs it: what nothing refers to is nobody's evidence. The effect is that the action lists it.
type artifactPutOp struct{ store jetstream.ObjectStore }

// Prepare checks the request and, unless it is a rehearsal, stores the text.
func (o *artifactPutOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.ArtifactPut
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	switch {
	case !artifactName.MatchString(q.Name):
		return nil, invalid("%q is no artifact's name: 1 to 128 of letters, digits, _ - and dots within", q.Name)
	case len(q.ContentType) > 100:
		return nil, invalid("contentType has %d bytes; 100 are allowed", len(q.ContentType))
	case !s.Grants.Artifacts:
		return nil, denied("artifacts are not granted; the grant that is missing is artifacts: true")
	case len(q.Text) > abi.MaxArtifact:
		return nil, abiErrorf(abi.CodeTooLarge, "the text has %d bytes; %d are allowed", len(q.Text), abi.MaxArtifact)
	}
	if q.ContentType == "" {
		q.ContentType = "text/plain"
	}
	sum := sha256.Sum256([]byte(q.Text))
	call := ArtifactCall{Name: q.Name, ContentType: q.ContentType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(q.Text))}
	if s.Mode == Enforce {
		if err := o.keep(ctx, call.Digest, q.Text); err != nil {
			return nil, err
		}
	}
	return &Prepared{
		Write: true, Class: Conditional, Canonical: mustJSON(call), Summary: fmt.Sprintf("keep %s (%d bytes)", q.Name, len(q.Text)),
		Inverse: &Inverse{Irreversible: "evidence is kept"},
	}, nil
}

// keep stores text by its digest, once.
func (o *artifactPutOp) keep(ctx context.Context, digest, text string) error {
	there, err := o.there(ctx, digest)
	if err != nil || there {
		return err
	}
	_, err = o.store.PutBytes(ctx, digest, []byte(text))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == streamFull {
		return abiErrorf(abi.CodeTooLarge, "the store of artifacts is full")
	}
	if err != nil {
		return natsError("store artifact "+digest, err)
	}
	return nil
}

// streamFull is the server's code for a stream that takes no more bytes.
const streamFull jetstream.ErrorCode = 10077

func (o *artifactPutOp) there(ctx context.Context, digest string) (bool, error) {
	_, err := o.store.GetInfo(ctx, digest)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, natsError("look for artifact "+digest, err)
	}
	return true, nil
}

// Execute answers what is kept, if it is.
func (o *artifactPutOp) Execute(ctx context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q ArtifactCall
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	if s.Mode != Enforce {
		return Result{Response: mustJSON(abi.Artifact{Digest: q.Digest, Size: q.Size, DryRun: true}), Object: q.Name, Rehearsed: true}, nil
	}
	there, err := o.there(ctx, q.Digest)
	if err != nil {
		return Result{}, err
	}
	if !there {
		return Result{}, abiErrorf(abi.CodeInternal, "artifact %s has been removed from the store", q.Name)
	}
	return Result{Response: mustJSON(abi.Artifact{Digest: q.Digest, Size: q.Size}), Object: q.Name}, nil
}

// Look reports whether the text is stored: it was before the intent.
func (o *artifactPutOp) Look(ctx context.Context, s Scope, p *Prepared, effect string) (bool, Result, error) {
	s.Mode = Enforce
	res, err := o.Execute(ctx, s, p, effect)
	if answer, ok := errors.AsType[*abi.Error](err); ok && answer.Code == abi.CodeInternal {
		return false, Result{}, nil
	}
	return err == nil, res, err
}

package capability

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// kubeError turns what client-go answers into an answer for the guest or a TransientError. doing says what was tried.
func kubeError(doing string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e
	}
	if _, ok := Transient(err); ok || errors.Is(err, ErrForged) {
		return err
	}
	if after, ok := transientStatus(err); ok {
		return &TransientError{Err: fmt.Errorf("%s: %w", doing, err), After: after}
	}
	return abiErrorf(kubeCode(err), "%s: %v", doing, err)
}

func kubeCode(err error) abi.Code {
	switch {
	case apierrors.IsNotFound(err):
		return abi.CodeNotFound
	case apierrors.IsAlreadyExists(err):
		return abi.CodeExists
	case apierrors.IsConflict(err), apierrors.IsGone(err), apierrors.IsResourceExpired(err):
		return abi.CodeConflict
	case apierrors.IsForbidden(err):
		return abi.CodeForbidden
	case apierrors.IsMethodNotSupported(err), apierrors.IsNotAcceptable(err), apierrors.IsUnsupportedMediaType(err):
		return abi.CodeUnsupported
	case apierrors.IsRequestEntityTooLargeError(err):
		return abi.CodeTooLarge
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return abi.CodeInvalid
	}
	return abi.CodeInternal
}

// transientStatus reports failures that say nothing about the request: the server was away, busy or slow, or our credentials were
// being renewed. A write of ours that was in flight may have happened; every write is repeatable.
func transientStatus(err error) (after time.Duration, ok bool) {
	if s, asked := apierrors.SuggestsClientDelay(err); asked {
		return time.Duration(s) * time.Second, true
	}
	switch {
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsInternalError(err),
		apierrors.IsServiceUnavailable(err), apierrors.IsUnexpectedServerError(err), apierrors.IsUnauthorized(err):
		return 0, true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return 0, true
	case utilnet.IsConnectionRefused(err), utilnet.IsConnectionReset(err), utilnet.IsProbableEOF(err), utilnet.IsHTTP2ConnectionLost(err):
		return 0, true
	}
	var answered apierrors.APIStatus
	if errors.As(err, &answered) {
		return 0, false
	}
	_, network := errors.AsType[net.Error](err)
	return 0, network
}

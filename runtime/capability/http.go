package capability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// HTTPConfig bounds the operation http.
type HTTPConfig struct {
	Timeout   time.Duration     // of one request with its body. Positive. Default 10s
	MaxBody   int64             // bytes of a response's body that are passed on. Default 1 MiB, at most that
	Transport http.RoundTripper // nil: a transport without proxies
}

const maxBody = 1 << 20

// httpOp is the operation http.
type httpOp struct {
	cfg     HTTPConfig
	client  *http.Client
	secrets Secrets
}

func newHTTP(cfg HTTPConfig, secrets Secrets) (*httpOp, error) {
	if cfg.Timeout < 0 || cfg.MaxBody < 0 || cfg.MaxBody > maxBody {
		return nil, fmt.Errorf("http: timeout %s and body limit %d must be positive, the limit at most %d", cfg.Timeout, cfg.MaxBody, maxBody)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = maxBody
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy:                  nil, // the environment does not decide where a function's requests go
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns:           100,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		}
	}
	return &httpOp{cfg: cfg, client: &http.Client{Transport: cfg.Transport, CheckRedirect: noRedirect}, secrets: secrets}, nil
}

// noRedirect leaves redirects to exchange, which knows the grants.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

var httpMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

func httpWrites(method string) bool { return method != http.MethodGet && method != http.MethodHead }

// Prepare checks method, headers and URL, with secrets filled in; the canonical request keeps the handles.
func (o *httpOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.HTTPRequest
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if !slices.Contains(httpMethods, q.Method) {
		return nil, invalid("method %q is none of %s", q.Method, strings.Join(httpMethods, ", "))
	}
	if len(s.Grants.HTTP) == 0 {
		return nil, denied("http is not granted; the grant that is missing is http: [URL]")
	}
	for k, v := range q.Headers {
		if err := checkHeader(k, v); err != nil {
			return nil, err
		}
	}
	to, _, err := o.fillURL(ctx, s, q)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Canonical: mustJSON(q), Summary: q.Method + " " + to.Scheme + "://" + to.Host}
	if httpWrites(q.Method) {
		p.Write, p.Class = true, Unconditional
		p.Inverse = &Inverse{Irreversible: "what a server was told cannot be taken back"}
	}
	return p, nil
}

// checkHeader refuses what could change the framing or the addressee of the request.
func checkHeader(key, value string) error {
	if !httpguts.ValidHeaderFieldName(key) || !httpguts.ValidHeaderFieldValue(value) {
		return invalid("header %q is malformed", key)
	}
	switch strings.ToLower(key) {
	case "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization", "proxy-connection", "keep-alive", "expect":
		return invalid("header %q is not a guest's to set", key)
	}
	return nil
}

// fillURL returns the URL with secrets filled in, if it is within the grants.
func (o *httpOp) fillURL(ctx context.Context, s Scope, q abi.HTTPRequest) (to *url.URL, used []string, err error) {
	raw, err := fill(ctx, s, o.secrets, q.URL, &used)
	if err != nil {
		return nil, nil, err
	}
	if to, err = parseURL(raw); err != nil {
		if len(used) > 0 && errors.Is(err, errURLSyntax) {
			err = errURLSyntax // the rest quotes a piece of the URL
		}
		return nil, nil, invalid("url %s: %v", q.URL, err)
	}
	if err := s.Grants.allowsURL(to); err != nil {
		if len(used) > 0 { // parsed, a secret does not look as it was filled in: it could not be removed from the text
			return nil, nil, denied("http %s is not granted once its secrets are filled in; the grant that is missing is http: [URL]", q.URL)
		}
		return nil, nil, denied("%v", err)
	}
	return to, used, nil
}

// Execute sends the request. For a write that was sent and not answered nobody knows what happened: the guest is told so, unless the
// grant says to repeat.
func (o *httpOp) Execute(ctx context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q abi.HTTPRequest
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	to, used, err := o.fillURL(ctx, s, q)
	if err != nil {
		return Result{}, err
	}
	if s.Mode != Enforce && httpWrites(q.Method) {
		return Result{Response: mustJSON(abi.HTTPResponse{Status: http.StatusOK, DryRun: true}), Rehearsed: true, Note: "not sent"}, nil
	}
	header := http.Header{}
	for k, v := range q.Headers {
		if v, err = fill(ctx, s, o.secrets, v, &used); err != nil {
			return Result{}, err
		}
		if err := checkHeader(k, v); err != nil {
			return Result{}, invalid("header %q is malformed once the secret is filled in", k)
		}
		header.Set(k, v)
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "tiercel")
	}
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Timeout)
	defer cancel()
	answer, err := o.exchange(ctx, s, q, to, header)
	if err != nil {
		return Result{}, o.failure(s, q, used, err)
	}
	if after, wait := o.retryable(s, q, answer); wait {
		return Result{}, &TransientError{Err: fmt.Errorf("%s: status %d", p.Summary, answer.Status), After: after}
	}
	answer.Body = withoutSecrets(answer.Body, used)
	for k, v := range answer.Headers {
		answer.Headers[k] = withoutSecrets(v, used)
	}
	return Result{Response: mustJSON(answer), Note: fmt.Sprintf("status %d", answer.Status)}, nil
}

const maxRedirects = 5

// exchange sends the request, follows a read's redirects to granted URLs of the same origin, and reads the answer.
func (o *httpOp) exchange(ctx context.Context, s Scope, q abi.HTTPRequest, to *url.URL, header http.Header) (abi.HTTPResponse, error) {
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, q.Method, to.String(), strings.NewReader(q.Body))
		if err != nil {
			return abi.HTTPResponse{}, err
		}
		req.Header = header
		resp, err := o.client.Do(req)
		if err != nil {
			return abi.HTTPResponse{}, err
		}
		next := o.redirect(s, q, to, resp)
		if next == nil {
			return o.readAnswer(resp)
		}
		resp.Body.Close()
		to = next
	}
	return abi.HTTPResponse{}, abiErrorf(abi.CodeInvalid, "more than %d redirects", maxRedirects)
}

// redirect returns where to go next, nil for nowhere: then the redirect itself is the answer. Another origin never gets the headers,
// which may hold secrets, so there is no going there.
func (o *httpOp) redirect(s Scope, q abi.HTTPRequest, from *url.URL, resp *http.Response) *url.URL {
	if httpWrites(q.Method) || resp.StatusCode < 301 || resp.StatusCode > 308 || resp.StatusCode == http.StatusNotModified {
		return nil
	}
	next, err := resp.Location()
	if err != nil || next.Scheme != from.Scheme || next.Host != from.Host {
		return nil
	}
	if next, err = parseURL(next.String()); err != nil || s.Grants.allowsURL(next) != nil {
		return nil
	}
	return next
}

func (o *httpOp) readAnswer(resp *http.Response) (abi.HTTPResponse, error) {
	defer resp.Body.Close()
	answer := abi.HTTPResponse{Status: resp.StatusCode, Headers: map[string]string{}}
	for _, k := range []string{"content-type", "retry-after", "location"} {
		if v := resp.Header.Get(k); v != "" {
			answer.Headers[k] = strings.ToValidUTF8(v, "\uFFFD")
		}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, o.cfg.MaxBody+1))
	if err != nil {
		return abi.HTTPResponse{}, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > o.cfg.MaxBody {
		body, answer.Truncated = body[:o.cfg.MaxBody], true
	}
	answer.Body = strings.ToValidUTF8(string(body), "\uFFFD")
	return answer, nil
}

// retryable reports statuses with which a server says that it did not do anything, or that a read may be asked again.
func (o *httpOp) retryable(s Scope, q abi.HTTPRequest, a abi.HTTPResponse) (after time.Duration, ok bool) {
	switch a.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		ok = true
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		ok = o.repeatable(s, q)
	}
	if seconds, err := strconv.Atoi(a.Headers["retry-after"]); err == nil && seconds > 0 {
		after = min(time.Duration(seconds)*time.Second, time.Hour)
	}
	return after, ok
}

func (o *httpOp) repeatable(s Scope, q abi.HTTPRequest) bool {
	return !httpWrites(q.Method) || s.Grants.OnUnknown == "repeat"
}

func (o *httpOp) failure(s Scope, q abi.HTTPRequest, used []string, err error) error {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, in which secrets are filled in
	}
	text := withoutSecrets(err.Error(), used)
	if o.repeatable(s, q) || notSent(err) {
		return &TransientError{Err: fmt.Errorf("%s %s: %s", q.Method, q.URL, text)}
	}
	return abiErrorf(abi.CodeTimeout, "%s %s: %s; whether the request was acted upon is unknown", q.Method, q.URL, text)
}

// notSent reports errors that come before the request is on its way.
func notSent(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
}

// Look cannot tell for a write. Where the grant says to repeat, that is the answer.
func (o *httpOp) Look(_ context.Context, s Scope, p *Prepared, _ string) (bool, Result, error) {
	if s.Grants.OnUnknown == "repeat" {
		return false, Result{}, nil
	}
	return false, Result{}, fmt.Errorf("%s: %w", p.Summary, ErrUnknown)
}

// withoutSecrets removes values that were filled in, and their forms in URLs and in JSON.
func withoutSecrets(text string, values []string) string {
	var forms []string
	for _, v := range values {
		if len(v) < 4 {
			continue // would blank letters rather than a secret
		}
		quoted, _ := json.Marshal(v)
		forms = append(forms, v, url.QueryEscape(v), url.PathEscape(v), (&url.URL{Path: v}).EscapedPath(), strings.Trim(string(quoted), `"`))
		forms = append(forms, urlForms(v)...)
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // a part of another must leave nothing of that one
	for _, form := range forms {
		text = strings.ReplaceAll(text, form, redacted)
	}
	return text
}

// urlForms returns what a secret that is a URL is found as once it was sent: as parsed, path and query, and their parts. The host alone is
// not among them: a grant has it.
func urlForms(v string) []string {
	u, err := parseURL(v)
	if err != nil {
		return nil
	}
	parts := []string{u.Path, u.EscapedPath(), u.RawQuery} // of a webhook, these are the secret
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return len(p) < 8 })
	if len(parts) == 0 {
		return nil
	}
	return append(parts, u.String(), u.RequestURI())
}

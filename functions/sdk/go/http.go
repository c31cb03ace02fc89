package tiercel

import "github.com/tiercel-project/tiercel/functions/abi"

// A Request is an HTTP request. Its URL, or a handle of a secret in it, must be granted to the function.
type Request struct {
	Method  string // default GET
	URL     string
	Headers map[string]string
	Body    string
}

// A Response is an HTTP response, of whatever status.
type Response struct {
	Status    int
	Headers   map[string]string // content-type, retry-after and location only
	Body      string
	Truncated bool // the body was too long
	DryRun    bool // nothing was sent
}

// OK reports whether the status is 200 to 299.
func (r Response) OK() bool { return r.Status >= 200 && r.Status <= 299 }

// Do sends an HTTP request.
func Do(r Request) (Response, error) {
	method := r.Method
	if method == "" {
		method = "GET"
	}
	q := newRequest().text("body", r.Body)
	if len(r.Headers) > 0 {
		q = q.value("headers", r.Headers)
	}
	v, err := q.text("method", method).key("url").appendText(r.URL).send(abi.OpHTTP)
	if err != nil {
		return Response{}, err
	}
	res := Response{
		Status:    int(v.Get("status").Int()),
		Headers:   map[string]string{},
		Body:      v.Get("body").String(),
		Truncated: v.Get("truncated").Bool(),
		DryRun:    v.Get("dryRun").Bool(),
	}
	for key, value := range v.Get("headers").Fields() {
		res.Headers[key] = value.String()
	}
	return res, nil
}

// PostJSON sends a value as JSON by POST. What body may be: [AppendJSON].
func PostJSON(url string, headers map[string]string, body any) (Response, error) {
	text, err := AppendJSON(nil, body)
	if err != nil {
		return Response{}, err
	}
	all := map[string]string{"content-type": "application/json"}
	for k, v := range headers {
		all[k] = v
	}
	return Do(Request{Method: "POST", URL: url, Headers: all, Body: string(text)})
}

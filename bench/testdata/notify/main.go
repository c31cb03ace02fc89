// The bundled responder notify as it would be in Go, for BenchmarkResponderLanguage.
package main

import (
	"errors"
	"strconv"

	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

func main() {}

func init() { tiercel.Handle(notify) }

func notify(ev tiercel.Event) error {
	config := tiercel.Config()
	request := tiercel.Request{Method: "POST", Headers: map[string]string{}}
	if err := address(config, &request); err != nil {
		return err
	}
	if config.Get("format").String() == "slack" {
		return send(request, "application/json", slack(ev, config))
	}
	return send(request, "application/cloudevents+json", ev.JSON)
}

// address fills in URL and headers, with handles in the place of secrets.
func address(config tiercel.Value, request *tiercel.Request) error {
	url, secret := config.Get("url").String(), config.Get("urlSecret").String()
	if (url == "") == (secret == "") {
		return errors.New("config: set one of url and urlSecret")
	}
	request.URL = url
	if secret != "" {
		handle, err := tiercel.Secret(secret, "")
		if err != nil {
			return err
		}
		request.URL = handle
	}
	for name, value := range config.Get("headers").Fields() {
		request.Headers[name] = value.String()
	}
	for name, value := range config.Get("secretHeaders").Fields() {
		handle, err := tiercel.Secret(value.String(), "")
		if err != nil {
			return err
		}
		request.Headers[name] = handle
	}
	return nil
}

func send(request tiercel.Request, contentType string, body any) error {
	text, err := tiercel.AppendJSON(nil, body)
	if err != nil {
		return err
	}
	request.Headers["content-type"], request.Body = contentType, string(text)
	response, err := tiercel.Do(request)
	if err != nil {
		return err
	}
	tiercel.Report("status", response.Status)
	if !response.OK() {
		tiercel.Warn("the receiver answered", short(response.Body, 200))
		return errors.New("the receiver answered " + strconv.Itoa(response.Status))
	}
	return nil
}

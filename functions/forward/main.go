// The bundled responder forward sends every event it gets on: to Falcosidekick as Falco's alert, from where the long tail of receivers is
// reached, or to a webhook as it is. Of the event it changes nothing, not a digit.
package main

import (
	"errors"
	"strconv"

	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

func main() {}

func init() { tiercel.Handle(forward) }

func forward(ev tiercel.Event) error {
	config := tiercel.Config()
	request := tiercel.Request{Method: "POST", Headers: map[string]string{}}
	if err := address(config, &request); err != nil {
		return err
	}
	body, contentType := any(ev.JSON), "application/cloudevents+json"
	if config.Get("format").String() == "falcosidekick" {
		body, contentType = alert(ev), "application/json"
	}
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
		return errors.New("the receiver answered " + strconv.Itoa(response.Status))
	}
	return nil
}

// alert is what Falco's http_output would have posted.
func alert(ev tiercel.Event) tiercel.Object {
	out := tiercel.Object{}
	for _, key := range []string{"hostname", "output", "output_fields", "priority", "rule", "source", "tags", "time"} {
		if v := ev.JSON.Get("data", key); v.Exists() {
			out[key] = v
		}
	}
	return out
}

// address fills in URL and headers, with handles in the place of secrets.
func address(config tiercel.Value, request *tiercel.Request) error {
	url, secret := config.Get("url").String(), config.Get("urlSecret").String()
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

// The function operations performs, step by step, every operation that an SDK has a function for. What it asks of the host is the same in each
// language: the cases are those of the folder beside it.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

func main() {}

func init() { tiercel.Handle(handle) }

func handle(ev tiercel.Event) error {
	text := ev.Field("text").String()
	switch ev.Field("step").String() {
	case "kubernetes":
		return kubernetes(text)
	case "pod":
		return pod(ev.Target.Pod(), text)
	case "command":
		return command(ev.Target.Pod(), text)
	case "http":
		return web(text)
	case "kv":
		return kv(text)
	case "artifact":
		digest, err := tiercel.Artifact("a.log", text)
		tiercel.Report("digest", digest)
		return err
	case "error":
		_, err := tiercel.KVGet("k")
		var e *tiercel.Error
		if errors.As(err, &e) {
			tiercel.Report("code", string(e.Code))
			tiercel.Report("text", e.Text)
			tiercel.Report("retry", e.Retry)
		}
		return nil
	case "log":
		tiercel.Progress(text)
		tiercel.Log(text)
		tiercel.Warn(text)
		return nil
	case "clock":
		return clock()
	}
	return errors.New("there is no such step")
}

func kubernetes(text string) error {
	r := tiercel.Kubernetes("apps/v1", "deployments").In("shop")
	got, err := r.Get("web")
	if err != nil {
		return err
	}
	tiercel.Report("name", got.Get("metadata", "name").String())
	items, _, err := r.List(tiercel.ListOptions{LabelSelector: "app=web", Max: 2})
	if err != nil {
		return err
	}
	tiercel.Report("items", len(items))
	made, err := r.CreateObject(tiercel.Object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": tiercel.Object{"generateName": "web-", "annotations": tiercel.Object{"note": text}}})
	if err != nil {
		return err
	}
	tiercel.Report("made", made.Get("metadata", "name").String())
	patch := tiercel.List{tiercel.Object{"op": "replace", "path": "/spec/replicas", "value": 0}}
	if _, err := r.PatchAs(tiercel.PatchJSON, "web", "u-1", patch); err != nil {
		return err
	}
	grace := int64(30)
	return r.Delete("web", "u-1", tiercel.DeleteOptions{GraceSeconds: &grace})
}

func pod(p tiercel.Pod, text string) error {
	v, err := p.Get()
	if err != nil {
		return err
	}
	tiercel.Report("phase", v.Get("status", "phase").String())
	if err := p.Label("example.com/l", tiercel.LabelValue(text)); err != nil {
		return err
	}
	if err := p.Annotate("example.com/a", text); err != nil {
		return err
	}
	log, err := p.Logs("web", 20)
	if err != nil {
		return err
	}
	tiercel.Report("log", log)
	if err := p.Evict(nil); err != nil {
		return err
	}
	grace := int64(0)
	return p.Delete(tiercel.DeleteOptions{GraceSeconds: &grace})
}

func command(p tiercel.Pod, text string) error {
	ran, err := p.Exec("web", "cat", "/proc/net/tcp", text)
	if err != nil {
		return err
	}
	tiercel.Report("exitCode", ran.ExitCode)
	tiercel.Report("stdout", ran.Stdout)
	tiercel.Report("stderr", ran.Stderr)
	tiercel.Report("truncated", ran.Truncated)
	return nil
}

func web(text string) error {
	handle, err := tiercel.Secret("hook", "url")
	if err != nil {
		return err
	}
	got, err := tiercel.Do(tiercel.Request{Method: "PUT", URL: handle, Headers: map[string]string{"x-note": "n"}, Body: text})
	if err != nil {
		return err
	}
	tiercel.Report("status", got.Status)
	tiercel.Report("body", got.Body)
	tiercel.Report("type", got.Headers["content-type"])
	posted, err := tiercel.PostJSON("https://example.com/hook", nil, tiercel.Object{"text": text})
	tiercel.Report("posted", posted.Status)
	return err
}

func kv(text string) error {
	entry, err := tiercel.KVGet("seen/" + "a")
	if err != nil {
		return err
	}
	tiercel.Report("value", entry.Value)
	next, err := tiercel.KVUpdate("seen/a", text, entry.Revision, 60)
	if err != nil {
		return err
	}
	tiercel.Report("revision", next)
	if _, err := tiercel.KVPut("seen/b", text, 0); err != nil {
		return err
	}
	return tiercel.KVDelete("seen/a")
}

// clock reports whether time and random numbers are the event's: a second draw differs, and the clock begins at the event's time.
func clock() error {
	var b [8]byte
	_, _ = rand.Read(b[:])
	first := binary.LittleEndian.Uint64(b[:])
	_, _ = rand.Read(b[:])
	tiercel.Report("differs", first != binary.LittleEndian.Uint64(b[:]))
	tiercel.Report("seconds", time.Now().Unix())
	return nil
}

// The function of the chaos test: one write for each event, under a name that the host makes from the effect.
package main

import tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"

func main() {}

func init() {
	tiercel.Handle(func(ev tiercel.Event) error {
		return ev.Target.Pod().Namespace().Resource("v1", "configmaps").Create(tiercel.Object{
			"apiVersion": "v1",
			"kind":       "ConfigMap",
			"metadata":   tiercel.Object{"generateName": "mark-", "labels": tiercel.Object{"event": ev.ID}},
		})
	})
}

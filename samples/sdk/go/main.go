// The function mark-pod labels the event's pod with the rule, and skips the pods of namespaces that its configuration spares.
package main

import tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"

func main() {}

func init() { tiercel.Handle(mark) }

func mark(ev tiercel.Event) error {
	pod, config := ev.Target.Pod(), tiercel.Config()
	if !pod.Exists() {
		return tiercel.ErrNoPod
	}
	for namespace := range config.Get("spare").Items() {
		if namespace.String() == string(pod.Namespace()) {
			return tiercel.Skip("namespace " + namespace.String() + " is spared")
		}
	}
	tiercel.Log(ev.Rule, "by", ev.Field("proc.cmdline").String())
	value := tiercel.LabelValue(ev.Rule)
	if err := pod.Label(config.Get("label").String(), value); err != nil {
		if tiercel.CodeOf(err) == tiercel.CodeNotFound {
			return tiercel.Skip("the pod is gone")
		}
		return err
	}
	tiercel.Report("pod", string(pod.Namespace())+"/"+pod.Name())
	tiercel.Report("label", value)
	return nil
}

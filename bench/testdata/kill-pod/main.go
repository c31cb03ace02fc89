// Kill-pod in Go, to be compared with the bundled one, which is JavaScript: it deletes or evicts one pod, and never another that has come to its name. It cannot be undone: what owns
// the pod may make a new one.
package main

import tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"

func main() {}

func init() { tiercel.Handle(kill) }

func kill(ev tiercel.Event) error {
	pod, config := ev.Target.Pod(), tiercel.Config()
	if !pod.Exists() {
		return tiercel.ErrNoPod
	}
	if spared := config.Get("spare").Strings(); len(spared) > 0 {
		object, err := pod.Get()
		if err != nil {
			return pod.SkipIfGone(err)
		}
		if kind := sparedOwner(object, spared); kind != "" {
			return tiercel.Skip("the pod belongs to a " + kind + ", which the configuration spares")
		}
	}
	var grace *int64
	if g := config.Get("graceSeconds"); g.Exists() {
		seconds := g.Int()
		grace = &seconds
	}
	method := config.Get("method").String()
	tiercel.Report("pod", string(pod.Namespace())+"/"+pod.Name())
	tiercel.Report("method", method)
	if method == "evict" {
		return pod.SkipIfGone(pod.Evict(grace))
	}
	return pod.SkipIfGone(pod.Delete(tiercel.DeleteOptions{GraceSeconds: grace}))
}

// sparedOwner returns the kind of an owner of the pod that is one of spared, or "".
func sparedOwner(pod tiercel.Value, spared []string) string {
	for owner := range pod.Get("metadata", "ownerReferences").Items() {
		for _, kind := range spared {
			if owner.Get("kind").String() == kind {
				return kind
			}
		}
	}
	return ""
}

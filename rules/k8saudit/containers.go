package k8saudit

import (
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A containerList is one of the lists of containers in a pod and the fields that describe it; a zero ID is a field it does not have.
type containerList struct {
	key                                                    string
	name, image, repository, command, args, hostPort       field.ID
	privileged, escalation, readOnly, user, effUser, group field.ID
	effGroup, procMount, capabilities                      field.ID
	oldImage, oldRepository, oldPrivileged                 field.ID // deprecated: the first container's, or any
}

var containerLists = []containerList{
	{
		key: "containers", name: field.KaReqPodContainersName, image: field.KaReqPodContainersImage,
		repository: field.KaReqPodContainersImageRepository, command: field.KaReqPodContainersCommand, args: field.KaReqPodContainersArgs,
		hostPort: field.KaReqPodContainersHostPort, privileged: field.KaReqPodContainersPrivileged,
		escalation: field.KaReqPodContainersAllowPrivilegeEscalation, readOnly: field.KaReqPodContainersReadOnlyFs,
		user: field.KaReqPodContainersRunAsUser, effUser: field.KaReqPodContainersEffRunAsUser, group: field.KaReqPodContainersRunAsGroup,
		effGroup: field.KaReqPodContainersEffRunAsGroup, procMount: field.KaReqPodContainersProcMount,
		capabilities: field.KaReqPodContainersAddCapabilities, oldImage: field.KaReqContainerImage,
		oldRepository: field.KaReqContainerImageRepository, oldPrivileged: field.KaReqContainerPrivileged,
	},
	{
		key: "initContainers", name: field.KaReqPodInitContainersName, image: field.KaReqPodInitContainersImage,
		repository: field.KaReqPodInitContainersImageRepository, command: field.KaReqPodInitContainersCommand,
		args: field.KaReqPodInitContainersArgs, hostPort: field.KaReqPodInitContainersHostPort,
		privileged: field.KaReqPodInitContainersPrivileged, escalation: field.KaReqPodInitContainersAllowPrivilegeEscalation,
		readOnly: field.KaReqPodInitContainersReadOnlyFs, user: field.KaReqPodInitContainersRunAsUser,
		effUser: field.KaReqPodInitContainersEffRunAsUser, group: field.KaReqPodInitContainersRunAsGroup,
		effGroup: field.KaReqPodInitContainersEffRunAsGroup, procMount: field.KaReqPodInitContainersProcMount,
		capabilities: field.KaReqPodInitContainersAddCapabilities,
	},
	{
		key: "ephemeralContainers", name: field.KaReqPodEphemeralContainersName, image: field.KaReqPodEphemeralContainersImage,
		repository: field.KaReqPodEphemeralContainersImageRepository, command: field.KaReqPodEphemeralContainersCommand,
		args: field.KaReqPodEphemeralContainersArgs, privileged: field.KaReqPodEphemeralContainersPrivileged,
		escalation: field.KaReqPodEphemeralContainersAllowPrivilegeEscalation, readOnly: field.KaReqPodEphemeralContainersReadOnlyFs,
		user: field.KaReqPodEphemeralContainersRunAsUser, effUser: field.KaReqPodEphemeralContainersEffRunAsUser,
		group: field.KaReqPodEphemeralContainersRunAsGroup, effGroup: field.KaReqPodEphemeralContainersEffRunAsGroup,
		procMount: field.KaReqPodEphemeralContainersProcMount, capabilities: field.KaReqPodEphemeralContainersAddCapabilities,
	},
}

// containerFields adds the fields of c.
func containerFields(x *[field.NumFields + 1]extractor, c containerList) {
	path := []string{"requestObject", "spec", c.key}
	set := func(id field.ID, f extractor) {
		if id != 0 {
			x[id] = f
		}
	}
	set(c.name, each(path, "name"))
	set(c.image, each(path, "image"))
	set(c.repository, repositories(each(path, "image")))
	set(c.command, each(path, "command"))
	set(c.args, each(path, "args"))
	set(c.hostPort, hostPorts(path))
	set(c.privileged, each(path, "securityContext", "privileged"))
	set(c.escalation, each(path, "securityContext", "allowPrivilegeEscalation"))
	set(c.readOnly, each(path, "securityContext", "readOnlyRootFilesystem"))
	set(c.user, each(path, "securityContext", "runAsUser"))
	set(c.effUser, effective(path, "runAsUser"))
	set(c.group, each(path, "securityContext", "runAsGroup"))
	set(c.effGroup, effective(path, "runAsGroup"))
	set(c.procMount, each(path, "securityContext", "procMount"))
	set(c.capabilities, each(path, "securityContext", "capabilities", "add")) // Falco's plugin gives each container's as one JSON array
	set(c.oldImage, first(each(path, "image")))
	set(c.oldRepository, first(repositories(each(path, "image"))))
	set(c.oldPrivileged, anyTrue(each(path, "securityContext", "privileged")))
}

// repositories makes an extractor of the repositories of the images that f gives.
func repositories(f extractor) extractor {
	return func(e *Event, ref *field.Ref, v *field.Value) bool {
		if !f(e, ref, v) {
			return false
		}
		for i := range v.List {
			v.List[i].Str = repository(v.List[i].Str)
		}
		return true
	}
}

// repository cuts the digest and the tag off an image. A colon before the last slash is a registry's port; Falco's plugin cuts there.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i]
	}
	return image
}

// first makes an extractor of the first item that f gives.
func first(f extractor) extractor {
	return func(e *Event, ref *field.Ref, v *field.Value) bool {
		if !f(e, ref, v) || len(v.List) == 0 {
			return false
		}
		return v.SetString(v.List[0].Str)
	}
}

// anyTrue makes an extractor that says whether f gives a true.
func anyTrue(f extractor) extractor {
	return func(e *Event, ref *field.Ref, v *field.Value) bool {
		if !f(e, ref, v) {
			return false
		}
		for _, item := range v.List {
			if item.Str == "true" {
				return v.SetString("true")
			}
		}
		return v.SetString("false")
	}
}

// effective makes an extractor of what key of the security context is for each container: its own, else the pod's, else 0. Falco's plugin
// looks beside the security contexts and nearly always finds nothing.
func effective(path []string, key string) extractor {
	return func(e *Event, ref *field.Ref, v *field.Value) bool {
		items, ok := e.list(path...)
		if !ok || ref.Index >= len(items) {
			return false
		}
		pod, ok := e.str("requestObject", "spec", "securityContext", key)
		if !ok {
			pod = "0"
		}
		v.SetList()
		for i, item := range items {
			if ref.Index >= 0 && i != ref.Index {
				continue
			}
			own, ok := dig(item, "securityContext", key)
			s, isScalar := scalar(own)
			if !ok || !isScalar || own == nil {
				s = pod
			}
			v.AppendString(s)
		}
		return true
	}
}

// hostPorts makes an extractor of the host's ports that containers take: those they ask for and, in the host's network, those they listen on.
func hostPorts(path []string) extractor {
	return func(e *Event, ref *field.Ref, v *field.Value) bool {
		items, ok := e.list(path...)
		if !ok || ref.Index >= len(items) {
			return false
		}
		host, _ := e.get("requestObject", "spec", "hostNetwork")
		v.SetList()
		for i, item := range items {
			ports, _ := dig(item, "ports")
			list, _ := ports.([]any)
			if ref.Index >= 0 && i != ref.Index {
				continue
			}
			for _, p := range list {
				if port, ok := dig(p, "hostPort"); ok {
					appendFlat(v, port)
				} else if port, ok := dig(p, "containerPort"); ok && host == true {
					appendFlat(v, port)
				}
			}
		}
		return true
	}
}

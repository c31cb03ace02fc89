package k8saudit

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
)

// An extractor stores the value of a field in v.
type extractor func(e *Event, ref *field.Ref, v *field.Value) bool

// at makes an extractor of the value at the end of keys: a scalar as its text, all else as JSON.
func at(keys ...string) extractor {
	return func(e *Event, _ *field.Ref, v *field.Value) bool {
		x, ok := e.get(keys...)
		if !ok {
			return false
		}
		s, ok := e.text(x, keys...)
		return ok && v.SetString(s)
	}
}

// listAt makes an extractor of the items of the array at the end of keys, all of them or the one that the argument names.
func listAt(keys ...string) extractor {
	return func(e *Event, ref *field.Ref, v *field.Value) bool {
		items, ok := e.list(keys...)
		if !ok || ref.Index >= len(items) {
			return false
		}
		v.SetList()
		for i, item := range items {
			if ref.Index >= 0 && i != ref.Index {
				continue
			}
			if s, ok := e.text(item, append(keys[:len(keys):len(keys)], strconv.Itoa(i))...); ok {
				v.AppendString(s)
			}
		}
		return true
	}
}

// extractors are the fields that audit events have.
var extractors = makeExtractors()

func makeExtractors() [field.NumFields + 1]extractor {
	var x [field.NumFields + 1]extractor
	eventFields(&x)
	requestFields(&x)
	for _, c := range containerLists {
		containerFields(&x, c)
	}
	for _, ids := range [][3]field.ID{{field.JevtValue, field.JevtObj, field.JevtRawtime}, {field.JSONValue, field.JSONObj, field.JSONRawtime}} {
		x[ids[0]] = func(e *Event, ref *field.Ref, v *field.Value) bool {
			s, ok := e.pointer(ref.Arg)
			return ok && v.SetString(s)
		}
		x[ids[1]] = prettyPrinted
		x[ids[2]] = func(e *Event, _ *field.Ref, v *field.Value) bool {
			return v.SetString(strconv.FormatInt(e.time.UnixNano(), 10))
		}
	}
	return x
}

func prettyPrinted(e *Event, _ *field.Ref, v *field.Value) bool {
	var b bytes.Buffer
	if json.Indent(&b, e.raw, "", "  ") != nil {
		return false
	}
	return v.SetString(b.String())
}

// eventFields are the fields of the record itself.
func eventFields(x *[field.NumFields + 1]extractor) {
	x[field.KaAuditid] = at("auditID")
	x[field.KaStage] = at("stage")
	x[field.KaAuthDecision] = at("annotations", "authorization.k8s.io/decision")
	x[field.KaAuthReason] = at("annotations", "authorization.k8s.io/reason")
	x[field.KaAuthOpenshiftDecision] = at("annotations", "authentication.openshift.io/decision")
	x[field.KaAuthOpenshiftUsername] = at("annotations", "authentication.openshift.io/username")
	x[field.KaValidationsAdmissionPolicyFailure] = at("annotations", "validation.policy.admission.k8s.io/validation_failure")
	x[field.KaSecurityPodViolations] = at("annotations", "pod-security.kubernetes.io/audit-violations")
	x[field.KaUserName] = at("user", "username")
	x[field.KaUserGroups] = listAt("user", "groups")
	x[field.KaImpuserName] = at("impersonatedUser", "username")
	x[field.KaVerb] = at("verb")
	x[field.KaURI] = at("requestURI")
	x[field.KaURIParam] = uriParam
	x[field.KaTargetName] = at("objectRef", "name")
	x[field.KaTargetNamespace] = at("objectRef", "namespace")
	x[field.KaTargetResource] = at("objectRef", "resource")
	x[field.KaTargetSubresource] = at("objectRef", "subresource")
	x[field.KaTargetPodName] = targetPodName
	x[field.KaRespName] = at("responseObject", "metadata", "name")
	x[field.KaResponseCode] = at("responseStatus", "code")
	x[field.KaResponseReason] = at("responseStatus", "reason")
	x[field.KaUseragent] = at("userAgent")
	x[field.KaSourceips] = listAt("sourceIPs") // Falco's plugin looks among the rules of a role
	x[field.KaClusterName] = func(e *Event, _ *field.Ref, v *field.Value) bool {
		return e.Cluster != "" && v.SetString(e.Cluster)
	}
	genericFields(x)
}

func uriParam(e *Event, ref *field.Ref, v *field.Value) bool {
	uri, ok := e.str("requestURI")
	if !ok {
		return false
	}
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	values, ok := u.Query()[ref.Arg]
	return ok && len(values) > 0 && v.SetString(values[0])
}

// targetPodName takes the name from the response where the request left it to the API server.
func targetPodName(e *Event, _ *field.Ref, v *field.Value) bool {
	if r, _ := e.str("objectRef", "resource"); r != "pods" {
		return false
	}
	for _, keys := range [][]string{{"objectRef", "name"}, {"responseObject", "metadata", "name"}, {"requestObject", "metadata", "name"}} {
		if s, ok := e.str(keys...); ok && s != "" {
			return v.SetString(s)
		}
	}
	return false
}

// requestFields are the fields of the object in the request, apart from its containers.
func requestFields(x *[field.NumFields + 1]extractor) {
	x[field.KaReqBindingSubjects] = listAt("requestObject", "subjects")
	x[field.KaReqBindingSubjectsUserNames] = subjects("User", false)
	x[field.KaReqBindingSubjectsServiceaccountNames] = subjects("ServiceAccount", false)
	x[field.KaReqBindingSubjectsServiceaccountNSNames] = subjects("ServiceAccount", true)
	x[field.KaReqBindingSubjectsGroupNames] = subjects("Group", false)
	x[field.KaReqBindingRole] = at("requestObject", "roleRef", "name")
	x[field.KaReqBindingSubjectHasName] = func(_ *Event, _ *field.Ref, v *field.Value) bool { return v.SetString("N/A") } // Falco: "true"
	x[field.KaReqConfigmapName] = at("objectRef", "name")
	x[field.KaReqConfigmapObj] = at("requestObject", "data")
	x[field.KaReqPodHostIPC] = at("requestObject", "spec", "hostIPC")
	x[field.KaReqPodHostNetwork] = at("requestObject", "spec", "hostNetwork")
	x[field.KaReqContainerHostNetwork] = at("requestObject", "spec", "hostNetwork")
	x[field.KaReqPodHostPID] = at("requestObject", "spec", "hostPID")
	x[field.KaReqPodRunAsUser] = at("requestObject", "spec", "securityContext", "runAsUser")
	x[field.KaReqPodRunAsGroup] = at("requestObject", "spec", "securityContext", "runAsGroup")
	x[field.KaReqPodFsGroup] = at("requestObject", "spec", "securityContext", "fsGroup")
	x[field.KaReqPodSupplementalGroups] = listAt("requestObject", "spec", "securityContext", "supplementalGroups")
	x[field.KaReqRoleRules] = listAt("requestObject", "rules")
	for id, key := range map[field.ID]string{
		field.KaReqRoleRulesApiGroups: "apiGroups", field.KaReqRoleRulesNonResourceURLs: "nonResourceURLs",
		field.KaReqRoleRulesVerbs: "verbs", field.KaReqRoleRulesResources: "resources",
	} {
		x[id] = each([]string{"requestObject", "rules"}, key)
	}
	x[field.KaReqServiceType] = at("requestObject", "spec", "type")
	x[field.KaReqServicePorts] = listAt("requestObject", "spec", "ports") // Falco's plugin gives one item: the whole array
	volumes := []string{"requestObject", "spec", "volumes"}
	x[field.KaReqPodVolumesHostpath] = each(volumes, "hostPath", "path")
	x[field.KaReqPodVolumesFlexvolumeDriver] = each(volumes, "flexVolume", "driver")
	x[field.KaReqPodVolumesVolumeType] = volumeTypes
	x[field.KaReqVolumeHostpath] = hasHostPath
}

// subjects makes an extractor of the names of a binding's subjects of a kind, with their namespaces or without.
func subjects(kind string, namespaced bool) extractor {
	return func(e *Event, _ *field.Ref, v *field.Value) bool {
		items, ok := e.list("requestObject", "subjects")
		if !ok {
			return false
		}
		v.SetList()
		for _, item := range items {
			if k, _ := dig(item, "kind"); k != kind {
				continue
			}
			name, _ := dig(item, "name")
			s, ok := name.(string)
			if !ok {
				continue
			}
			if ns, _ := dig(item, "namespace"); namespaced {
				prefix, _ := ns.(string)
				s = prefix + ":" + s
			}
			v.AppendString(s)
		}
		return true
	}
}

// each makes an extractor of what is at the end of keys in each item of the array at the end of list; arrays are taken apart. The argument
// names an item of list. Items that have no such key are passed over.
func each(list []string, keys ...string) extractor {
	return func(e *Event, ref *field.Ref, v *field.Value) bool {
		items, ok := e.list(list...)
		if !ok || ref.Index >= len(items) {
			return false
		}
		v.SetList()
		for i, item := range items {
			if ref.Index >= 0 && i != ref.Index {
				continue
			}
			if x, ok := dig(item, keys...); ok {
				appendFlat(v, x)
			}
		}
		return true
	}
}

// appendFlat appends a scalar or the scalars of an array.
func appendFlat(v *field.Value, x any) {
	if items, ok := x.([]any); ok {
		for _, item := range items {
			appendFlat(v, item)
		}
		return
	}
	if s, ok := scalar(x); ok && x != nil {
		v.AppendString(s)
	}
}

// volumeTypes gives the keys of the volumes that are no names: "hostPath", "secret".
func volumeTypes(e *Event, ref *field.Ref, v *field.Value) bool {
	items, ok := e.list("requestObject", "spec", "volumes")
	if !ok || ref.Index >= len(items) {
		return false
	}
	v.SetList()
	for i, item := range items {
		m, ok := item.(map[string]any)
		if !ok || ref.Index >= 0 && i != ref.Index {
			continue
		}
		for key := range m { // one beside the name
			if key != "name" {
				v.AppendString(key)
			}
		}
	}
	return true
}

// hasHostPath says whether a volume has the path that is the argument, or one that begins with it if it ends in a star.
func hasHostPath(e *Event, ref *field.Ref, v *field.Value) bool {
	items, ok := e.list("requestObject", "spec", "volumes")
	if !ok {
		return false
	}
	prefix, wild := strings.CutSuffix(ref.Arg, "*")
	for _, item := range items {
		p, _ := dig(item, "hostPath", "path")
		if s, ok := p.(string); ok && (s == ref.Arg || wild && strings.HasPrefix(s, prefix)) {
			return v.SetString("true")
		}
	}
	return v.SetString("false")
}

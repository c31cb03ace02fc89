// The function mark-pod labels the event's pod with the rule, and skips the pods of namespaces that its configuration spares.

export const manifest = {
  version: "0.1.0",
  description: "Labels the event's pod with the rule",
  needs: {
    kubernetes: [{ apiGroups: [""], resources: ["pods"], verbs: ["patch"], why: "to label the pod" }],
  },
  config: {
    type: "object",
    properties: {
      label: { type: "string", maxLength: 316, default: "example.com/seen", description: "the label's key" },
      spare: {
        type: "array",
        items: { type: "string", maxLength: 63 },
        maxItems: 50,
        default: ["kube-system"],
        description: "namespaces whose pods are left alone",
      },
    },
  },
};

export default function (event, tiercel) {
  const { pod } = event;
  const { label, spare } = tiercel.config;
  if (!pod.exists) return tiercel.skip("the event is not about a pod, or its pod was not known");
  const namespace = pod.namespace.name;
  if (spare.includes(namespace)) return tiercel.skip(`namespace ${namespace} is spared`);
  console.log(event.rule, "by", event.field("proc.cmdline"));
  const value = tiercel.labelValue(event.rule);
  try {
    pod.label(label, value);
  } catch (error) {
    if (error.code === "not_found") return tiercel.skip("the pod is gone");
    throw error;
  }
  tiercel.report("pod", `${namespace}/${pod.name}`);
  tiercel.report("label", value);
}

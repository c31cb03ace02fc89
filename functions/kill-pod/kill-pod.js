// The bundled responder kill-pod deletes or evicts one pod, and never another that has come to its name. It cannot be undone: what owns
// the pod may make a new one.

export const manifest = {
  version: "1.0.0",
  description: "Deletes or evicts the event's pod",
  needs: {
    kubernetes: [
      { apiGroups: [""], resources: ["pods"], verbs: ["delete"], optional: true, why: "method delete" },
      { apiGroups: [""], resources: ["pods/eviction"], verbs: ["create"], optional: true, why: "method evict" },
      { apiGroups: [""], resources: ["pods"], verbs: ["get"], optional: true, why: "to spare pods by their owner" },
    ],
  },
  config: {
    type: "object",
    properties: {
      method: { type: "string", enum: ["delete", "evict"], default: "delete", description: "evict respects disruption budgets" },
      graceSeconds: { type: "integer", minimum: 0, maximum: 3600, description: "default: the pod's own" },
      spare: {
        type: "array",
        description: "kinds of owners whose pods are left alone",
        maxItems: 16,
        items: { type: "string", maxLength: 63 },
      },
    },
  },
};

export default function (event, tiercel) {
  const { method, graceSeconds, spare = [] } = tiercel.config;
  const pod = event.pod;
  if (!pod.exists) {
    return tiercel.skip("the event is not about a pod, or its pod was not known");
  }
  try {
    if (spare.length > 0) {
      const owner = (pod.get().metadata.ownerReferences ?? []).find((o) => spare.includes(o.kind));
      if (owner) {
        return tiercel.skip(`the pod belongs to a ${owner.kind}, which the configuration spares`);
      }
    }
    tiercel.report("pod", `${pod.namespace.name}/${pod.name}`);
    tiercel.report("method", method);
    if (method === "evict") {
      pod.evict({ graceSeconds });
    } else {
      pod.delete({ graceSeconds });
    }
  } catch (error) {
    throw pod.skipIfGone(error);
  }
}

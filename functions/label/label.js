// The bundled responder label puts labels on the event's pod: those of the configuration, and the rule's name under a key of its own.
// Nothing else of the event becomes a label's key or value, so nobody chooses a selector by what he runs.

export const manifest = {
  version: "1.0.0",
  description: "Labels the event's pod",
  needs: {
    kubernetes: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "patch"], why: "to label the pod" }],
  },
  config: {
    type: "object",
    properties: {
      labels: {
        type: "object",
        description: "labels to put on the pod",
        additionalProperties: { type: "string", maxLength: 63 },
        default: { "tiercel.dev/seen": "true" },
      },
      ruleLabel: { type: "string", maxLength: 316, description: "key of a label whose value is made of the rule's name; default: none" },
    },
  },
};

export default function (event, tiercel) {
  const { labels, ruleLabel } = tiercel.config;
  const all = { ...labels };
  if (ruleLabel) {
    all[ruleLabel] = tiercel.labelValue(event.rule);
  }
  if (Object.keys(all).length === 0) {
    throw new Error("config: there is neither a label nor a ruleLabel");
  }
  const pod = event.pod;
  try {
    pod.patch({ metadata: { labels: all } });
  } catch (error) {
    throw pod.skipIfGone(error);
  }
  tiercel.report("labels", all);
}

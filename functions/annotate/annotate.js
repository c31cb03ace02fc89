// The bundled responder annotate writes onto the event's pod what happened to it, as annotations: they select nothing, so the event's own
// words may stand in them.

export const manifest = {
  version: "1.0.0",
  description: "Annotates the event's pod with what happened",
  needs: {
    kubernetes: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "patch"], why: "to annotate the pod" }],
  },
  config: {
    type: "object",
    properties: {
      prefix: { type: "string", maxLength: 253, default: "tiercel.dev", description: "of the annotations' keys, before the /" },
      annotations: {
        type: "object",
        description: "more annotations, by key",
        additionalProperties: { type: "string", maxLength: 1024 },
        default: {},
      },
      fields: {
        type: "array",
        description: "fields of the event to write down, each under the prefix with its own name",
        maxItems: 16,
        items: { type: "string", maxLength: 60, pattern: "^[a-z][a-z0-9_.]*[a-z0-9]$" },
        default: [],
      },
    },
  },
};

const longest = 1024; // characters of one annotation

export default function (event, tiercel) {
  const { prefix, annotations, fields } = tiercel.config;
  const all = {
    [`${prefix}/event`]: event.id,
    [`${prefix}/rule`]: event.rule,
    [`${prefix}/priority`]: event.priority,
    [`${prefix}/time`]: event.time,
    [`${prefix}/output`]: cut(event.output),
  };
  for (const name of fields) {
    const value = event.field(name);
    if (value !== undefined && value !== null) {
      all[`${prefix}/${name}`] = cut(String(value));
    }
  }
  const pod = event.pod;
  try {
    pod.patch({ metadata: { annotations: { ...all, ...annotations } } });
  } catch (error) {
    throw pod.skipIfGone(error);
  }
  tiercel.report("pod", `${pod.namespace.name}/${pod.name}`);
}

function cut(text) {
  const characters = [...text];
  return characters.length <= longest ? text : characters.slice(0, longest - 1).join("") + "…";
}

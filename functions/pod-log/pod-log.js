// The bundled responder pod-log keeps the log of the event's pod as evidence, before somebody removes pod or log. The text is kept with the
// action and goes nowhere else: tiercel action artifact ID NAME prints it.

export const manifest = {
  version: "1.0.0",
  description: "Keeps the log of the event's pod as evidence",
  needs: {
    kubernetes: [
      { apiGroups: [""], resources: ["pods/log"], verbs: ["get"], why: "to read the log" },
      { apiGroups: [""], resources: ["pods"], verbs: ["get"], optional: true, why: "to know all of the pod's containers" },
    ],
    artifacts: true,
  },
  config: {
    type: "object",
    properties: {
      tailLines: { type: "integer", minimum: 1, maximum: 100000, default: 2000, description: "of each container" },
      sinceSeconds: { type: "integer", minimum: 1, maximum: 86400, description: "default: from its start" },
      containers: { type: "string", enum: ["event", "all"], default: "event", description: "event: the event's own, if it is known" },
    },
  },
};

const most = 400000; // bytes of one log, the newest: an artifact holds 512 KiB

export default function (event, tiercel) {
  const { tailLines, sinceSeconds, containers } = tiercel.config;
  const pod = event.pod;
  const kept = [];
  try {
    for (const container of named(event, pod, containers)) {
      const text = newest(pod.logs({ container, tailLines, sinceSeconds }));
      const name = `${container ?? "pod"}.log`;
      tiercel.artifact(name, text);
      kept.push(name);
    }
  } catch (error) {
    throw kept.length > 0 ? error : pod.skipIfGone(error);
  }
  tiercel.report("artifacts", kept);
}

// named is the containers to read: undefined stands for the only one.
function named(event, pod, which) {
  if (which === "all") {
    return pod.get().spec.containers.map((c) => c.name);
  }
  return [event.target.container];
}

// newest is the end of a text, from the beginning of a line.
function newest(text) {
  let size = 0;
  let from = text.length;
  while (from > 0 && size < most) {
    from--;
    const unit = text.charCodeAt(from);
    size += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
  }
  if (from === 0) {
    return text;
  }
  return text.slice(text.indexOf("\n", from) + 1);
}

// The bundled responder isolate-pod cuts one pod off the network: it gives the pod a label of its own and creates a NetworkPolicy that
// selects that label only and allows nothing (but what the configuration allows). Policies only add up, so it reports those
// that still allow the pod traffic. Deleting the policy and the label undoes it; the pod's end removes the policy.

export const manifest = {
  version: "1.0.0",
  description: "Cuts the event's pod off the network with a label and a NetworkPolicy of its own",
  needs: {
    kubernetes: [
      { apiGroups: [""], resources: ["pods"], verbs: ["get", "patch"], why: "to label the pod" },
      { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["get", "create"], why: "to deny its traffic" },
      {
        apiGroups: ["networking.k8s.io"],
        resources: ["networkpolicies"],
        verbs: ["list"],
        optional: true,
        why: "to report policies that still allow it traffic",
      },
      { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["delete"], optional: true, why: "to undo it" },
    ],
  },
  config: {
    type: "object",
    properties: {
      allow: {
        type: "array",
        description: "networks that stay reachable, as CIDRs",
        maxItems: 64,
        items: { type: "string", maxLength: 64, pattern: "^[0-9a-fA-F:.]+/[0-9]{1,3}$" },
      },
    },
  },
};

// Marks an isolated pod. The label's value is the pod's UID: no other pod has it, whoever copies labels.
const LABEL = "tiercel.dev/quarantine";

export default function (event, tiercel) {
  const pod = event.pod;
  if (!pod.exists) {
    return tiercel.skip("the event is not about a pod, or its pod was not known");
  }
  let labelled;
  try {
    labelled = pod.patch({ metadata: { labels: { [LABEL]: pod.uid } } });
  } catch (error) {
    throw pod.skipIfGone(error);
  }
  const name = deny(event);
  tiercel.report("pod", `${pod.namespace.name}/${pod.name}`);
  tiercel.report("policy", name);
  tiercel.progress(`labelled, and policy ${name} created`);
  return reportOthers(pod, labelled.metadata?.labels ?? {}, name);
}

// Creates the policy and returns its name. A pod has one, however many events ask for it; if somebody else has made one of that name which
// denies less, another is made beside it.
function deny(event) {
  const policies = event.pod.namespace.networkPolicies();
  const policy = denyAll(event);
  const name = `tiercel-isolate-${event.pod.uid}`;
  policy.metadata.name = name;
  try {
    return policies.create(policy).metadata?.name ?? name;
  } catch (error) {
    if (error.code !== "exists") {
      throw error;
    }
  }
  if (equal(policies.get(name).spec, policy.spec)) {
    console.log("policy", name, "exists already");
    return name;
  }
  console.warn("policy", name, "exists and is not ours; making another");
  delete policy.metadata.name;
  policy.metadata.generateName = `${name}-`;
  return policies.create(policy).metadata?.name ?? name;
}

function denyAll(event) {
  const spec = { podSelector: { matchLabels: { [LABEL]: event.pod.uid } }, policyTypes: ["Ingress", "Egress"] };
  const peers = (tiercel.config.allow ?? []).map((cidr) => ({ ipBlock: { cidr } }));
  if (peers.length > 0) {
    spec.ingress = [{ from: peers }];
    spec.egress = [{ to: peers }];
  }
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: {
      labels: { "app.kubernetes.io/managed-by": "tiercel" },
      annotations: {
        "tiercel.dev/event": event.id,
        "tiercel.dev/invocation": tiercel.invocation.id,
        "tiercel.dev/rule": event.rule,
      },
      ownerReferences: [event.pod.owner()],
    },
    spec,
  };
}

// Compares two values by content; a policy as it comes back from the API server has no keys beyond ours in its spec.
function equal(a, b) {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) {
    return a === b;
  }
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]));
}

// Looks for policies that still allow the pod traffic. It comes last: the isolation does not wait for it.
function reportOthers(pod, labels, ours) {
  let policies;
  try {
    policies = pod.namespace.networkPolicies().list();
  } catch (error) {
    console.warn("other policies are not known:", error.message);
    tiercel.report("otherPolicies", "unknown");
    return;
  }
  const others = policies.filter(({ metadata, spec }) => metadata.name !== ours && selects(spec.podSelector ?? {}, labels) && directions(spec).length > 0);
  const names = others.map((p) => p.metadata.name);
  tiercel.report("otherPolicies", names);
  if (policies.more) {
    console.warn("only the first", policies.length, "policies were looked at");
  }
  const open = others.findLast((p) => directions(p.spec).some(allowsAll));
  if (open) {
    return tiercel.ineffective(`policy ${open.metadata.name} of the namespace still allows the pod all traffic`);
  }
  if (names.length > 0) {
    console.warn("the pod is still allowed some traffic by", names.join(", "));
  }
}

// What a policy allows the pods it selects: the rules of both directions.
function directions(spec) {
  return [...(spec.ingress ?? []).map((r) => [r.from, r.ports]), ...(spec.egress ?? []).map((r) => [r.to, r.ports])];
}

// A rule without peers and ports allows its direction entirely.
function allowsAll(lists) {
  return lists.every((list) => (list ?? []).length === 0);
}

// Whether a label selector selects an object with these labels.
function selects({ matchLabels, matchExpressions }, labels) {
  return Object.entries(matchLabels ?? {}).every(([key, value]) => labels[key] === value) && (matchExpressions ?? []).every((e) => matches(e, labels));
}

function matches({ key, operator, values }, labels) {
  const present = Object.hasOwn(labels, key);
  const listed = present && (values ?? []).includes(labels[key]);
  switch (operator) {
    case "In":
      return listed;
    case "NotIn":
      return !listed;
    case "Exists":
      return present;
    case "DoesNotExist":
      return !present;
  }
  return true; // an operator of a later API: better reported than overlooked
}

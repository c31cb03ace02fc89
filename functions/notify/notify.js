// The bundled responder notify tells people or a program about an event: a message in Slack's format, or the event itself to a webhook.
// Texts of the event are data in it and nothing else: they choose no address, no header and no markup.

export const manifest = {
  version: "1.0.0",
  description: "Posts the event to Slack, or as a CloudEvent to a webhook",
  needs: { http: true, secrets: true },
  config: {
    type: "object",
    oneOf: [{ required: ["url"] }, { required: ["urlSecret"] }],
    properties: {
      format: { type: "string", enum: ["slack", "webhook"], default: "slack", description: "webhook: the CloudEvent itself" },
      url: { type: "string", maxLength: 2048, pattern: "^https?://", grant: "http", description: "where to post; or urlSecret" },
      urlSecret: { type: "string", maxLength: 253, grant: "secrets", description: "name of the secret that holds the URL" },
      headers: { type: "object", additionalProperties: { type: "string", maxLength: 1024 } },
      secretHeaders: {
        type: "object",
        description: "header to the name of the secret that holds its value",
        additionalProperties: { type: "string", maxLength: 253, grant: "secrets" },
      },
      title: { type: "string", maxLength: 200, description: "slack: first line; default: the rule" },
      channel: { type: "string", maxLength: 80, description: "slack: for hooks that may choose" },
      fields: {
        type: "array",
        description: "slack: fields of the event to show",
        maxItems: 16,
        items: { type: "string", maxLength: 100 },
        default: ["proc.cmdline", "user.name", "fd.name"],
      },
    },
  },
};

export default function (event, tiercel) {
  const { format, url, urlSecret, headers, secretHeaders = {} } = tiercel.config;
  const request = { method: "POST", url: urlSecret ? tiercel.secret(urlSecret) : url, headers: { ...headers } };
  for (const [name, secret] of Object.entries(secretHeaders)) {
    request.headers[name] = tiercel.secret(secret); // a handle: the host puts the secret in its place
  }
  if (format === "slack") {
    request.headers["content-type"] = "application/json";
    request.body = slack(event, tiercel.config);
  } else {
    request.headers["content-type"] = "application/cloudevents+json";
    request.body = event.text;
  }
  const response = tiercel.http(request);
  tiercel.report("status", response.status);
  if (!response.ok) {
    console.warn("the receiver answered", short(response.body, 200));
    throw new Error(`the receiver answered ${response.status}`);
  }
}

const MAX_OUTPUT = 2000; // characters of the rule's output in a message
const MAX_VALUE = 300; // characters of a field's value

// A message of one attachment, as Falcosidekick's are.
function slack(event, { title, channel, fields = [] }) {
  const { namespace, pod, container, image, node } = event.target;
  const shown = [
    field("Rule", event.rule),
    field("Priority", event.priority),
    field("Pod", pod && `${namespace}/${pod}`),
    field("Container", container),
    field("Image", image),
    field("Node", node || event.hostname),
    field("Time", event.time),
    ...fields.map((name) => field(name, event.field(name))),
  ];
  const text = escape(short(event.output, MAX_OUTPUT));
  return {
    channel,
    text: escape(short(title || event.rule, MAX_VALUE)),
    mrkdwn: false,
    attachments: [
      {
        fallback: text,
        text,
        color: color(event.priority),
        fields: shown.filter((f) => f.value !== ""),
        footer: `tiercel ${escape(short(event.id, MAX_VALUE))}`,
        mrkdwn_in: [],
      },
    ],
  };
}

function field(title, value) {
  const text = typeof value === "string" ? value : value == null ? "" : JSON.stringify(value);
  return { title: escape(title), value: escape(short(text, MAX_VALUE)), short: text.length <= 40 };
}

// Keeps text from being a link, a mention or an entity in Slack.
function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// Cuts text to n characters, and not through one of two halves.
function short(text, n) {
  return text.length <= n ? text : `${text.slice(0, n).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

// That of Falcosidekick for the same priority.
function color(priority) {
  switch (priority.toLowerCase()) {
    case "emergency":
    case "alert":
    case "critical":
    case "error":
      return "#e20b0b";
    case "warning":
      return "#ffc700";
    case "notice":
      return "#5bffb5";
    case "informational":
    case "info":
      return "#68c2ff";
  }
  return "#ccfff2";
}

// The bundled responder exec runs one fixed command in the event's container and keeps what it prints as evidence. The command is the
// configuration's, word for word, and one that the grant lists: there is no shell, and nothing of the event goes into it.

export const manifest = {
  version: "1.0.0",
  description: "Runs a fixed command in the event's container",
  needs: {
    exec: true,
    artifacts: true,
  },
  config: {
    type: "object",
    required: ["command"],
    properties: {
      command: { type: "array", maxItems: 64, items: { type: "string", maxLength: 1024 }, grant: "exec", description: "its words; the grant lists the same" },
      container: { type: "string", maxLength: 63, grant: "exec.container", description: "default: the event's" },
      exitCodes: { type: "array", maxItems: 16, items: { type: "integer", minimum: 0, maximum: 255 }, default: [0], description: "that count as done" },
    },
  },
};

export default function (event, tiercel) {
  const { command, container, exitCodes } = tiercel.config;
  const pod = event.pod;
  let ran;
  try {
    ran = pod.exec(command, { container: container || event.target.container });
  } catch (error) {
    throw pod.skipIfGone(error);
  }
  tiercel.report("exitCode", ran.exitCode);
  if (ran.truncated) {
    tiercel.report("truncated", true);
  }
  const kept = [];
  for (const stream of ["stdout", "stderr"]) {
    if (ran[stream] !== "") {
      tiercel.artifact(`${stream}.txt`, ran[stream]);
      kept.push(`${stream}.txt`);
    }
  }
  tiercel.report("artifacts", kept);
  if (!ran.dryRun && !exitCodes.includes(ran.exitCode)) {
    throw new Error(`${command[0]} ended with exit code ${ran.exitCode}`);
  }
}

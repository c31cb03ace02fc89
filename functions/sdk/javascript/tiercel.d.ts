// What a function in JavaScript or TypeScript can use. An editor finds it by the first line of the function:
//
//   /// <reference path="./tiercel.d.ts" />
//
// The engine is QuickJS-NG with what ECMAScript 2023 has, and console. There is no import, no fetch, no timer and no file: all that a
// function can learn or do is here.

/** The handler, the default export. It is called once for each event, in memory that has seen no event before. */
type Handler = (event: tiercel.Event, tiercel: tiercel.SDK) => tiercel.Outcome | void | Promise<tiercel.Outcome | void>;

/** The SDK is also a global. */
declare const tiercel: tiercel.SDK;

/** Its lines go into the invocation's log: debug and trace, log and info, warn, error. */
declare const console: {
  debug(...parts: unknown[]): void;
  trace(...parts: unknown[]): void;
  log(...parts: unknown[]): void;
  info(...parts: unknown[]): void;
  warn(...parts: unknown[]): void;
  error(...parts: unknown[]): void;
};

declare namespace tiercel {
  type Json = string | number | boolean | null | Json[] | { [key: string]: Json | undefined };

  /** The export `manifest`: what the function needs and which configuration it takes. Name and version may be left out. */
  interface Manifest {
    name?: string;
    version?: string;
    description?: string;
    needs?: {
      kubernetes?: { apiGroups: string[]; resources: string[]; verbs: Verb[]; optional?: boolean; why?: string }[];
      exec?: boolean;
      http?: boolean;
      kv?: boolean;
      artifacts?: boolean;
      secrets?: boolean;
    };
    config?: Schema;
  }
  type Verb = "get" | "list" | "create" | "patch" | "delete";

  /** The part of JSON Schema that a configuration is described with. */
  interface Schema {
    type: "object" | "array" | "string" | "integer" | "number" | "boolean";
    description?: string;
    properties?: { [name: string]: Schema };
    additionalProperties?: Schema;
    required?: string[];
    items?: Schema;
    maxItems?: number;
    enum?: string[];
    maxLength?: number;
    pattern?: string;
    minimum?: number;
    maximum?: number;
    default?: Json;
    /** Of an object: exactly one of these sets of keys is there. */
    oneOf?: { required: string[] }[];
    /** What the value is used for: a document that sets it without granting it is refused when it is deployed. */
    grant?: "exec" | "exec.container" | "http" | "secrets";
  }

  /** The export `spec`: when the function runs and how far it may go. The same as a Function document's spec, without module. */
  interface Spec {
    triggers: {
      rules?: string[];
      priority?: "emergency" | "alert" | "critical" | "error" | "warning" | "notice" | "informational" | "debug";
      sources?: string[];
      tags?: string[];
      namespaces?: { include?: string[]; exclude?: string[] };
      condition?: string;
    }[];
    mode?: "dryRun" | "enforce";
    config?: { [key: string]: Json };
    secrets?: string[];
    grants?: {
      kubernetes?: { apiGroups: string[]; resources: string[]; verbs: Verb[]; resourceNames?: string[]; namespaces?: string[] }[];
      exec?: { commands: string[][]; namespaces?: string[]; selector?: string; containers?: string[]; timeout?: string }[];
      http?: string[];
      kv?: boolean;
      artifacts?: boolean;
      reach?: "target" | "namespace" | "cluster";
      [key: string]: unknown;
    };
    [key: string]: unknown;
  }

  /** A match: a CloudEvent whose data is an alert. All of its text may be an attacker's: never put it into a URL, a selector or a command. */
  interface Event {
    readonly id: string;
    readonly source: string;
    readonly type: string;
    readonly subject: string;
    /** RFC 3339: when the kernel saw it. */
    readonly time: string;
    readonly traceparent?: string;
    readonly rule: string;
    readonly priority: string;
    readonly eventsource: string;
    readonly hostname: string;
    readonly output: string;
    readonly tags: readonly string[];
    readonly target: Target;
    /** The event's pod and no other that has come to its name. Where there is none, what is asked of it ends the invocation as skipped. */
    readonly pod: Pod;
    /** The alert. Numbers above 2^53 lose digits here and nowhere else: text has them. */
    readonly data: { readonly [key: string]: any };
    /** The whole event as it came, JSON. */
    readonly text: string;
    /** A field by its name in rules ("fd.sip"). */
    field(name: string): any;
  }

  /** What is not known is absent. */
  interface Target {
    readonly cluster?: string;
    readonly node?: string;
    readonly namespace?: string;
    readonly pod?: string;
    readonly podUID?: string;
    readonly container?: string;
    readonly containerID?: string;
    readonly image?: string;
    readonly imageDigest?: string;
    readonly cgroupID?: string;
    readonly pid?: number;
    readonly pidStartTime?: string;
  }

  interface Pod {
    readonly exists: boolean;
    readonly name: string;
    readonly uid: string;
    readonly namespace: Namespace;
    get(): KubernetesObject;
    label(key: string, value: string | null): void;
    annotate(key: string, value: string | null): void;
    patch(patch: object): KubernetesObject;
    delete(options?: { graceSeconds?: number; propagation?: Propagation }): void;
    evict(options?: { graceSeconds?: number }): void;
    logs(options?: { container?: string; tailLines?: number; sinceSeconds?: number; previous?: boolean }): string;
    /** Runs a command that the grant lists, word for word, in a container, without a shell and without input. */
    exec(command: string[], options?: { container?: string }): ExecResult;
    /** The pod as an entry of metadata.ownerReferences. */
    owner(): { apiVersion: string; kind: string; name: string; uid: string };
    /** An error to throw instead: one that skips if the pod is gone, that asks for another attempt if it was changed meanwhile. */
    skipIfGone(error: unknown): unknown;
  }

  type KubernetesObject = { [key: string]: any };
  type Propagation = "Background" | "Foreground" | "Orphan";

  interface Namespace {
    readonly name: string;
    pods(): Resource;
    networkPolicies(): Resource;
    resource(apiVersion: string, plural: string): Resource;
  }

  interface Resource {
    in(namespace: string): Resource;
    get(name: string, options?: { subresource?: string }): KubernetesObject;
    /** At most max (default 1000) objects; more says whether there are others. */
    list(options?: { labelSelector?: string; fieldSelector?: string; max?: number }): KubernetesObject[] & { more: boolean };
    /** Without metadata.name the runtime gives one; metadata.generateName is its prefix. */
    create(object: object, options?: { name?: string; subresource?: string }): KubernetesObject;
    /** Of a JSON patch the operations add, remove and replace. */
    patch(
      name: string,
      patch: object,
      options?: { type?: "merge" | "json" | "strategic" | "apply"; uid?: string; resourceVersion?: string; subresource?: string },
    ): KubernetesObject;
    delete(name: string, options: { uid: string; resourceVersion?: string; graceSeconds?: number; propagation?: Propagation }): void;
  }

  interface ExecResult {
    readonly exitCode: number;
    /** The exit code is 0. */
    readonly ok: boolean;
    /** At most the first 256 KiB, of each. */
    readonly stdout: string;
    readonly stderr: string;
    readonly truncated: boolean;
    /** Nothing was run. */
    readonly dryRun: boolean;
  }

  interface HTTPResponse {
    readonly status: number;
    readonly ok: boolean;
    /** content-type, retry-after and location only. */
    readonly headers: { readonly [name: string]: string };
    readonly body: string;
    readonly truncated: boolean;
    /** Nothing was sent. */
    readonly dryRun: boolean;
    json(): any;
  }

  type Code =
    | "invalid"
    | "unsupported"
    | "denied"
    | "forbidden"
    | "not_found"
    | "exists"
    | "conflict"
    | "too_large"
    | "timeout"
    | "unavailable"
    | "internal";

  /** What an operation throws. */
  interface OperationError extends globalThis.Error {
    readonly code: Code;
    /** Whether a fresh attempt can help. */
    readonly retry: boolean;
  }

  /** How the invocation ends: to be returned or thrown. */
  interface Outcome extends globalThis.Error {
    readonly outcome: "skipped" | "ineffective" | "failed";
  }

  interface SDK {
    /** The configuration, with the defaults of the manifest's schema. */
    readonly config: { readonly [key: string]: any };
    /** Of the same event the same, whichever attempt. */
    readonly invocation: { readonly id: string; readonly function: string };
    kubernetes(apiVersion: string, plural: string): Resource;
    namespace(name: string): Namespace;
    /** A body that is no text is sent as JSON. Secrets stand in the URL or in headers. */
    http(request: string | { method?: string; url: string; headers?: { [name: string]: string }; body?: unknown }): HTTPResponse;
    postJSON(url: string, body: unknown, headers?: { [name: string]: string }): HTTPResponse;
    /** A handle that stands for the secret in http's URL and headers. The function never sees the secret. */
    secret(name: string, key?: string): string;
    /** What lasts from one event to the next. */
    readonly kv: {
      /** Revision 0: there is none. */
      get(key: string): { value?: string; revision: number };
      /** With a revision: only if it is still the entry's; 0: only if there is none. */
      put(key: string, value: string, options?: { ttlSeconds?: number; revision?: number }): number;
      delete(key: string, options?: { revision?: number }): void;
    };
    /** Keeps text as evidence, at most 512 KiB: it is listed with the action under its name. Returns the text's digest. */
    artifact(name: string, text: string, contentType?: string): string;
    /** There was nothing to do for this event. */
    skip(why: string): Outcome;
    /** It was done, but does not have the effect it is for. */
    ineffective(why: string): Outcome;
    /** Failed, and a fresh attempt is asked for, which is made only if nothing has been written yet. */
    retry(error: unknown): Outcome;
    /** Shown with the action. */
    report(key: string, value: unknown): void;
    /** Reported if the function is stopped before it returns. */
    progress(text: string): void;
    /** A label's value made of any text. */
    labelValue(text: string): string;
    /** An operation by its name. */
    call(operation: string, request?: object): any;
    readonly Error: new (code: Code, text: string, retry?: boolean) => OperationError;
  }
}

use crate::host::{call, Code, Error};
use crate::json;
use crate::json_read::Value;
use crate::json_write::{Json, ToJson, Writer};

type Answer<T> = core::result::Result<T, Error>;

/// A kind of Kubernetes resource, in a namespace if it is namespaced.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    api_version: &'a str,
    plural: &'a str,
    namespace: &'a str,
}

/// A kind of resource, without a namespace: `kubernetes("apps/v1", "deployments").within("shop")`.
pub fn kubernetes<'a>(api_version: &'a str, plural: &'a str) -> Resource<'a> {
    Resource { api_version, plural, namespace: "" }
}

/// Narrows a list; the default takes the first hundred.
#[derive(Clone, Copy, Debug, Default)]
pub struct List<'a> {
    pub label_selector: &'a str,
    pub field_selector: &'a str,
    /// Objects in one response, 1 to 500; 0: 100.
    pub limit: u32,
    /// From the response before.
    pub from: &'a str,
}

impl<'a> Resource<'a> {
    /// The resource in a namespace.
    pub fn within(self, namespace: &'a str) -> Resource<'a> {
        Resource { namespace, ..self }
    }

    fn request(&self, name: &str, subresource: &str) -> Writer {
        let mut w = Writer::object();
        w.text("apiVersion", self.api_version);
        w.text("resource", self.plural);
        w.text("namespace", self.namespace);
        w.text("name", name);
        w.text("subresource", subresource);
        w
    }

    /// An object.
    pub fn get(&self, name: &str) -> Answer<Value> {
        Ok(call("kubernetes.get", &self.request(name, "").end())?.get("object"))
    }

    /// One response's objects, and from where to go on: "" if there are no more.
    pub fn list(&self, o: List) -> Answer<(Vec<Value>, &'static str)> {
        let mut w = self.request("", "");
        w.text("labelSelector", o.label_selector);
        w.text("fieldSelector", o.field_selector);
        if o.limit > 0 {
            w.field("limit", &o.limit);
        }
        w.text("continue", o.from);
        let v = call("kubernetes.list", &w.end())?;
        Ok((v.get("items").items().collect(), v.get("continue").str()))
    }

    /// Creates an object and returns it. Without metadata.name the runtime gives it one (metadata.generateName is that name's prefix).
    pub fn create(&self, object: &Json) -> Answer<Value> {
        let mut w = self.request("", "");
        w.field("object", object);
        Ok(call("kubernetes.create", &w.end())?.get("object"))
    }

    /// Merges a patch into the object of that name and returns the object. uid, unless empty, must be the object's.
    pub fn patch(&self, name: &str, uid: &str, patch: &Json) -> Answer<Value> {
        self.patch_as("merge", name, uid, patch)
    }

    /// [`Resource::patch`] with a type of patch: merge, json (add, remove and replace alone), strategic or apply.
    pub fn patch_as(&self, kind: &str, name: &str, uid: &str, patch: &Json) -> Answer<Value> {
        let mut w = self.request(name, "");
        if kind != "merge" {
            w.field("type", kind);
        }
        w.field("patch", patch);
        w.text("uid", uid);
        Ok(call("kubernetes.patch", &w.end())?.get("object"))
    }

    /// Deletes the object of that name and UID. Without grace_seconds it is the object's own.
    pub fn delete(&self, name: &str, uid: &str, grace_seconds: Option<u32>) -> Answer<()> {
        let mut w = self.request(name, "");
        w.field("uid", uid);
        if let Some(seconds) = grace_seconds {
            w.field("gracePeriodSeconds", &seconds);
        }
        call("kubernetes.delete", &w.end()).map(|_| ())
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug)]
pub struct Executed {
    pub exit_code: i32,
    /// At most the first 256 KiB, as of stderr.
    pub stdout: &'static str,
    pub stderr: &'static str,
    /// Either was longer.
    pub truncated: bool,
    /// Nothing was run.
    pub dry_run: bool,
}

/// The one pod with a name and a UID. Every write to it is refused if the name has come to belong to another.
#[derive(Clone, Copy, Debug)]
pub struct Pod {
    pub namespace: &'static str,
    pub name: &'static str,
    pub uid: &'static str,
}

impl Pod {
    fn resource(&self) -> Resource<'static> {
        kubernetes("v1", "pods").within(self.namespace)
    }

    /// The pod's object. If the name has come to belong to another pod, the error's code is not found.
    pub fn get(&self) -> Answer<Value> {
        let v = self.resource().get(self.name)?;
        if !v.path(&["metadata", "uid"]).is(self.uid) {
            let text = "pod ".to_string() + self.namespace + "/" + self.name + " is another one now";
            return Err(Error { code: Code::NotFound, text, retry: false });
        }
        Ok(v)
    }

    /// Merges a patch into the pod.
    pub fn patch(&self, patch: &Json) -> Answer<Value> {
        self.resource().patch(self.name, self.uid, patch)
    }

    /// Sets a label. value must be a label's: see [`label_value`].
    pub fn label(&self, key: &str, value: &str) -> Answer<Value> {
        self.patch(&json!({"metadata": {"labels": {key: value}}}))
    }

    /// Sets an annotation.
    pub fn annotate(&self, key: &str, value: &str) -> Answer<Value> {
        self.patch(&json!({"metadata": {"annotations": {key: value}}}))
    }

    /// Deletes the pod. Without grace_seconds it is the pod's own.
    pub fn delete(&self, grace_seconds: Option<u32>) -> Answer<()> {
        self.resource().delete(self.name, self.uid, grace_seconds)
    }

    /// Asks for the pod's eviction, which disruption budgets may refuse.
    pub fn evict(&self) -> Answer<()> {
        let uid = self.uid;
        let mut w = self.resource().request(self.name, "eviction");
        w.field("object", &json!({"apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": {"preconditions": {"uid": uid}}}));
        call("kubernetes.create", &w.end()).map(|_| ())
    }

    /// Runs a command in a container, without a shell and without input. It must be, word for word, one that the grant lists. container may
    /// be empty if there is only one. An exit code other than 0 is no error.
    pub fn exec(&self, container: &str, command: &[&str]) -> Answer<Executed> {
        let mut words = String::from("[");
        for (i, word) in command.iter().enumerate() {
            if i > 0 {
                words.push(',');
            }
            word.to_json(&mut words);
        }
        words.push(']');
        let mut w = Writer::object();
        w.field("namespace", self.namespace);
        w.field("pod", self.name);
        w.field("uid", self.uid);
        w.text("container", container);
        w.field("command", &crate::json_write::finish(words));
        let v = call("exec", &w.end())?;
        Ok(Executed {
            exit_code: v.get("exitCode").int() as i32,
            stdout: v.get("stdout").str(),
            stderr: v.get("stderr").str(),
            truncated: v.get("truncated").bool(),
            dry_run: v.get("dryRun").bool(),
        })
    }

    /// The last lines of a container's log. container may be empty if there is only one.
    pub fn log(&self, container: &str, lines: u32) -> Answer<&'static str> {
        let mut options = Writer::object();
        options.field("tailLines", &lines);
        options.text("container", container);
        let mut w = self.resource().request(self.name, "log");
        w.field("log", &options.end());
        Ok(call("kubernetes.get", &w.end())?.get("text").str())
    }
}

/// Makes a label's value of any text: what may not be in one becomes "_", it is cut to 63 characters, and begins and ends with a
/// letter or digit.
pub fn label_value(text: &str) -> String {
    let fit: String = text
        .bytes()
        .take(63)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.') { c as char } else { '_' })
        .collect();
    fit.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_string()
}

/// A text as JSON, for [`crate::report`] and others.
impl From<&str> for Json {
    fn from(s: &str) -> Json {
        let mut out = String::new();
        s.to_json(&mut out);
        crate::json_write::finish(out)
    }
}

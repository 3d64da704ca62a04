// The client of the HTTP API: calls, errors as text, and the reader of event streams.

const ROOT = new URL("../", import.meta.url);
const KEY = "lorag.key";

/** The key of this tab. It is never stored beyond the tab's life. */
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** `status` is the HTTP status, or 0 if there was no response. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  get needsKey() {
    return this.status === 401 || this.status === 403;
  }
}

const LOST = "The server cannot be reached. Check the connection and whether it is still running.";
const CUT = "The connection broke before the answer was complete.";
const LATE = "The server ran out of time for this. Ask something shorter, or try again later.";

/** Fetches `path`, relative to the page. Throws ApiError if it fails; an abort stays an AbortError. */
export async function call(path, { method = "GET", json, body, signal } = {}) {
  const headers = {};
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, ROOT), {
      method,
      headers,
      body: json === undefined ? body : JSON.stringify(json),
      signal,
    });
  } catch (error) {
    throw signal?.aborted ? error : new ApiError(0, LOST);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function getJson(path, options) {
  return (await call(path, options)).json();
}

async function refusal(response) {
  const said = await response.json().then(
    (body) => body.error?.message,
    () => undefined,
  );
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const again = Number.isNaN(wait) ? "" : ` Try again in ${wait} s.`;
  const own = {
    401: key.get() ? "This server does not know the API key." : "This server asks for an API key.",
    403: said ? `That is not allowed: ${said}.` : "That is not allowed with this key.",
    429: `The server is busy with other questions.${again}`,
    504: LATE,
  };
  return new ApiError(
    response.status,
    own[response.status] ?? sentence(said ?? `the server answered with status ${response.status}`),
  );
}

/** The JSON values of a server-sent event stream up to `[DONE]`. Throws ApiError for an error event or a broken stream. */
export async function* events(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new ApiError(0, CUT);
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const data of blocks.map(dataOf).filter(Boolean)) {
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw streamed(event.error);
        yield event;
      }
    }
  } catch (error) {
    throw signal?.aborted || error instanceof ApiError ? error : new ApiError(0, CUT);
  } finally {
    reader.cancel().catch(() => {});
  }
}

const dataOf = (block) =>
  block
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trimStart())
    .join("\n");

/** An error event in the middle of a stream has no HTTP status. */
function streamed({ code, message }) {
  return code === "timeout"
    ? new ApiError(504, LATE)
    : new ApiError(500, sentence(message ?? "the server could not finish the answer"));
}

/** A server's message as a sentence. A name at its beginning is not capitalized. */
const sentence = (text) => text.replace(/^[a-z](?=[a-z]*[ ,])/, (letter) => letter.toUpperCase()).replace(/[^.!?]$/, "$&.");

/** `a/b#c?.md` with each path segment escaped for an address. */
export const pathOf = (source) => source.split("/").map(encodeURIComponent).join("/");

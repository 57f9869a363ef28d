// Sends mail by openapi-fetch with the types that openapi-typescript made.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [url, key] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });

const body: components["schemas"]["NewMessage"] = {
  from: "Ann <ann@sender.example>",
  to: ["bob@there.example"],
  subject: "Grüße",
  text: "Hello.\n",
};
const headers = { "Idempotency-Key": "typescript-1" };
const first = await client.POST("/api/v1/messages", { params: { header: headers }, body });
assert.ok(first.data, JSON.stringify(first.error));
const id: string = first.data.id;
const again = await client.POST("/api/v1/messages", { params: { header: headers }, body });
assert.deepEqual([again.data?.id, again.data?.duplicate], [id, true]);

const whole = await client.POST("/api/v1/messages", {
  params: { query: { to: ["bob@there.example"], body_type: "8BITMIME" } },
  headers: { "Content-Type": "message/rfc822" },
  body: "From: <ann@sender.example>\r\nTo: <bob@there.example>\r\n\r\nHello.\r\n",
  bodySerializer: (text) => text,
});
assert.equal(whole.data?.recipients[0]?.accepted, true, JSON.stringify(whole.error));

const status = await client.GET("/api/v1/messages/{id}", { params: { path: { id } } });
assert.equal(status.data?.recipients.length, 1);

const wrong = await client.POST("/api/v1/messages", { body: { ...body, from: "nobody" } });
assert.deepEqual([wrong.error?.code, wrong.error?.field], ["bad-field", "from"]);

// Drives a Mastodon by the client masto: joins by OAuth, posts, reads, deletes.
//
//   node masto.mjs http://127.0.0.1:PORT
//
// It ends with an error where the server is not what the client takes it for.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createOAuthAPIClient, createRestAPIClient } from 'masto';

const url = process.argv[2];
const redirectUri = 'http://127.0.0.1:1/back';
const scopes = 'read write';

// Joining: an app, the consent page, a code, a token.
const nobody = createRestAPIClient({ url });
const app = await nobody.v1.apps.create({ clientName: 'masto', redirectUris: redirectUri, scopes });
const verifier = 'a verifier that is long enough to be one, really';
const ask = new URL('/oauth/authorize', url);
ask.search = new URLSearchParams({
  response_type: 'code', client_id: app.clientId, redirect_uri: redirectUri, scope: scopes, state: 'here',
  code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
}).toString();
const page = await fetch(ask, { redirect: 'manual' });
const back = new URL(page.headers.get('location'));
assert.equal(back.searchParams.get('state'), 'here');
const oauth = createOAuthAPIClient({ url });
const form = { grantType: 'authorization_code', clientId: app.clientId, clientSecret: app.clientSecret, redirectUri, code: back.searchParams.get('code') };
await assert.rejects(oauth.token.create({ ...form, codeVerifier: 'another verifier, which is as long as the first' }));
const token = await oauth.token.create({ ...form, codeVerifier: verifier });
assert.equal(token.tokenType, 'Bearer');

const masto = createRestAPIClient({ url, accessToken: token.accessToken });
const me = await masto.v1.accounts.verifyCredentials();
assert.equal(me.acct, 'alice');
assert.ok(BigInt(me.id) > 2n ** 53n, 'an id that no float holds');

const instance = await masto.v2.instance.fetch();
assert.equal(instance.configuration.statuses.maxCharacters, 500);

// A picture and a video, which is waited for.
const picture = await masto.v2.media.create({ file: new Blob(['a picture'], { type: 'image/png' }), description: 'a cat', focus: '0.5,-0.5' });
assert.equal(picture.description, 'a cat');
assert.deepEqual(picture.meta.focus, { x: 0.5, y: -0.5 });
const video = await masto.v2.media.create({ file: new Blob(['a video'], { type: 'video/mp4' }) });
assert.ok(video.url, 'the video is ready');

// A post, once by its key.
const post = { status: 'Hello @bob@example.social, see https://example.com/a?b=c #smi', mediaIds: [picture.id], spoilerText: 'cats', visibility: 'unlisted', language: 'en' };
const init = { requestInit: { headers: { 'Idempotency-Key': 'one' } } };
const first = await masto.v1.statuses.create(post, init);
const again = await masto.v1.statuses.create(post, init);
assert.equal(first.id, again.id);
assert.equal(first.spoilerText, 'cats');
assert.equal(first.mediaAttachments[0].id, picture.id);
assert.equal(first.mentions[0].acct, 'bob@example.social');
assert.match(first.content, /<span class="invisible">https:\/\/<\/span>/);
const source = await masto.v1.statuses.$select(first.id).source.fetch();
assert.equal(source.text, post.status);

const answer = await masto.v1.statuses.create({ status: 'and more', inReplyToId: first.id, mediaIds: [video.id] });
const context = await masto.v1.statuses.$select(first.id).context.fetch();
assert.deepEqual(context.descendants.map((s) => s.id), [answer.id]);
const poll = await masto.v1.statuses.create({ status: 'Which?', poll: { options: ['this', 'that'], expiresIn: 3600, multiple: true } });
assert.deepEqual(poll.poll.options.map((o) => o.title), ['this', 'that']);
assert.equal(poll.poll.multiple, true);

// What is refused.
await assert.rejects(masto.v1.statuses.create({ status: 'x'.repeat(501) }), (e) => e.statusCode === 422 && /character limit/.test(e.message));
await assert.rejects(createRestAPIClient({ url, accessToken: 'nonsense' }).v1.accounts.verifyCredentials(), (e) => e.statusCode === 401);

// The list, page by page.
for (let i = 0; i < 3; i++) await masto.v1.statuses.create({ status: `number ${i}` });
const listed = [];
for await (const part of masto.v1.accounts.$select(me.id).statuses.list({ limit: 2 })) listed.push(...part);
assert.equal(new Set(listed.map((s) => s.id)).size, 6);

await masto.v1.statuses.$select(first.id).favourite();
assert.equal((await masto.v1.statuses.$select(first.id).fetch()).favouritesCount, 1);
const many = await masto.v1.statuses.list({ id: [first.id, answer.id] });
assert.deepEqual(many.map((s) => s.repliesCount), [1, 0]);
await masto.v1.statuses.$select(poll.id).remove();
await assert.rejects(masto.v1.statuses.$select(poll.id).fetch(), (e) => e.statusCode === 404);

await oauth.revoke({ clientId: app.clientId, clientSecret: app.clientSecret, token: token.accessToken });
await assert.rejects(masto.v1.accounts.verifyCredentials(), (e) => e.statusCode === 401);

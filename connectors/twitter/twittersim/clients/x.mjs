// Drives an X by the client twitter-api-v2: joins by OAuth 2, posts, reads,
// deletes by API v2, and by v1.1 with OAuth 1.0a.
//
//   node x.mjs PORT CLIENT-ID CLIENT-SECRET CONSUMER-KEY CONSUMER-SECRET TOKEN TOKEN-SECRET
//
// The client knows one address, https://api.x.com: its connections are led to
// the port of this machine. It ends with an error where the server is not what
// the client takes it for.
import assert from 'node:assert/strict';
import https from 'node:https';
import tls from 'node:tls';
import { TwitterApi } from 'twitter-api-v2';

const [port, clientId, clientSecret, appKey, appSecret, accessToken, accessSecret] = process.argv.slice(2);
const redirect = 'http://127.0.0.1:1/back';

class Here extends https.Agent {
  createConnection(_options, done) {
    // The certificate is the simulator's own.
    const socket = tls.connect({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
    socket.once('secureConnect', () => done?.(null, socket));
    return undefined;
  }
}
const httpAgent = new Here();

// What a browser is sent back with.
const browse = (url) => new Promise((resolve, reject) => {
  https.get(url, { agent: httpAgent }, (res) => {
    res.resume();
    resolve(new URL(res.headers.location).searchParams);
  }).on('error', reject);
});
const refused = (code, words) => (e) => e.code === code && words.test(JSON.stringify(e.data));

// Joining: the consent page, a code, a token.
const nobody = new TwitterApi({ clientId, clientSecret }, { httpAgent });
const link = nobody.generateOAuth2AuthLink(redirect, { scope: ['tweet.read', 'tweet.write', 'users.read', 'media.write', 'offline.access'] });
const back = await browse(link.url);
assert.equal(back.get('state'), link.state);
const answer = { code: back.get('code'), redirectUri: redirect };
await assert.rejects(nobody.loginWithOAuth2({ ...answer, codeVerifier: 'x'.repeat(64) }), refused(400, /invalid_request/));
const login = await nobody.loginWithOAuth2({ ...answer, codeVerifier: link.codeVerifier });
assert.equal(login.expiresIn, 7200);
const fresh = await nobody.refreshOAuth2Token(login.refreshToken);
assert.notEqual(fresh.refreshToken, login.refreshToken);
await assert.rejects(nobody.refreshOAuth2Token(login.refreshToken), refused(400, /Value passed for the token was invalid/));
const x = fresh.client.v2;

const me = await x.me({ 'user.fields': ['public_metrics', 'subscription_type'] });
assert.equal(me.data.username, 'alice');
assert.equal(me.data.subscription_type, 'None');
assert.equal(me.data.public_metrics.tweet_count, 0);
assert.ok(BigInt(me.data.id) > 2n ** 53n, 'an id that no float holds');

// A picture, and a video in three pieces, which is waited for.
const picture = await x.uploadMedia(Buffer.from('a picture'), { media_type: 'image/png', media_category: 'tweet_image' });
await x.createMediaMetadata(picture, { alt_text: { text: 'a cat' } });
const video = await x.uploadMedia(Buffer.alloc(2_500_000, 7), { media_type: 'video/mp4', media_category: 'tweet_video' });
await assert.rejects(x.uploadMedia(Buffer.from('text'), { media_type: 'text/plain', media_category: 'tweet_image' }), refused(400, /media_type/));

// Posts.
const text = 'Hello, see https://example.com/a?b=1&c=2 <now>';
const first = await x.tweet(text, { media: { media_ids: [picture] }, reply_settings: 'following' });
const film = await x.reply('and more', first.data.id, { media: { media_ids: [video] } });
const poll = await x.tweet('Which?', { poll: { options: ['this', 'that'], duration_minutes: 60 } });
const thread = await x.tweetThread(['one', 'two', 'three']);
assert.equal(thread.length, 3);

// What is refused.
await assert.rejects(x.tweet('x'.repeat(281)), refused(403, /too long/));
await assert.rejects(x.tweet('Which?'), refused(403, /duplicate content/));
await assert.rejects(x.quote('look', first.data.id), refused(403, /not allowed/i));
await assert.rejects(x.tweet('$AAPL $MSFT'), refused(403, /cashtag/));
await assert.rejects(x.tweet('no media', { media: { media_ids: ['1'] } }), refused(400, /media IDs are invalid/));
await assert.rejects(x.tweet('no such key', { no_such_key: 1 }), refused(400, /problems\/invalid-request/));
await assert.rejects(new TwitterApi('nonsense', { httpAgent }).v2.me(), refused(401, /Unauthorized/));

// Reading.
const fields = { 'tweet.fields': ['created_at', 'entities', 'attachments', 'referenced_tweets', 'author_id', 'public_metrics', 'non_public_metrics'], expansions: ['attachments.media_keys'] };
const read = await x.singleTweet(first.data.id, fields);
assert.equal(read.data.author_id, me.data.id);
assert.match(read.data.text, /^Hello, see https:\/\/t\.co\/\S+ &lt;now&gt; https:\/\/t\.co\/\S+$/);
assert.equal(read.data.entities.urls[0].expanded_url, 'https://example.com/a?b=1&c=2');
assert.equal(read.includes.media[0].type, 'photo');
assert.ok(Math.abs(Date.parse(read.data.created_at) - Date.now()) < 60_000);
const many = await x.tweets([first.data.id, film.data.id, '1'], fields);
assert.deepEqual(many.data.map((p) => p.public_metrics.retweet_count), [0, 0]);
assert.equal(many.data[0].non_public_metrics.url_link_clicks, 0);
assert.deepEqual(many.data[1].referenced_tweets, [{ type: 'replied_to', id: first.data.id }]);
assert.equal(many.errors[0].resource_id, '1');
const gone = await x.singleTweet('1', fields);
assert.match(gone.errors[0].type, /resource-not-found$/);

const listed = [];
const timeline = await x.userTimeline(me.data.id, { max_results: 5, exclude: ['retweets'], 'tweet.fields': ['created_at'] });
for await (const post of timeline) listed.push(post.id);
assert.equal(listed.length, 6);
assert.equal(new Set(listed).size, 6);
assert.deepEqual(listed, [...listed].sort().reverse());
assert.equal(timeline.rateLimit.limit, 900);
assert.ok(timeline.rateLimit.reset > Date.now() / 1000);

assert.equal((await x.deleteTweet(poll.data.id)).data.deleted, true);
await assert.rejects(x.tweet('late', { reply: { in_reply_to_tweet_id: poll.data.id } }), refused(403, /deleted/));

// By v1.1, with OAuth 1.0a.
const old = new TwitterApi({ appKey, appSecret, accessToken, accessSecret }, { httpAgent }).v1;
assert.equal((await old.verifyCredentials()).id_str, me.data.id);
const status = await old.tweet('by the older API: á & "é"');
assert.equal(status.full_text ?? status.text, 'by the older API: á &amp; "é"');
const under = await old.reply('and below', status.id_str);
assert.equal(under.in_reply_to_status_id_str, status.id_str);
await assert.rejects(old.tweet('and below'), (e) => e.hasErrorCode(187));
assert.equal((await old.singleTweet(under.id_str)).id_str, under.id_str);
const mine = await old.userTimeline(me.data.id, { count: 2 });
assert.deepEqual(mine.tweets.map((p) => p.id_str), [under.id_str, status.id_str]);
await old.deleteTweet(status.id_str);
await assert.rejects(old.singleTweet(status.id_str), (e) => e.code === 404 && e.hasErrorCode(144));
const wrong = new TwitterApi({ appKey, appSecret, accessToken, accessSecret: 'another' }, { httpAgent }).v1;
await assert.rejects(wrong.verifyCredentials(), (e) => e.code === 401 && e.hasErrorCode(32));

// The end of it.
await nobody.revokeOAuth2Token(fresh.accessToken);
await assert.rejects(x.me(), refused(401, /Unauthorized/));
httpAgent.destroy();

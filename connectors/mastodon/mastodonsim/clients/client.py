"""Drives a Mastodon by the client of python3-mastodon: joins, posts, reads, deletes.

    python3 client.py http://127.0.0.1:PORT

It ends with an error where the server is not what the client takes it for.
"""
import re
import sys

import requests
from mastodon import Mastodon, MastodonAPIError, MastodonNotFoundError, MastodonUnauthorizedError

url = sys.argv[1]
scopes = ["read", "write"]
oob = "urn:ietf:wg:oauth:2.0:oob"

# Joining: an app, the consent page that shows a code, a token.
client_id, client_secret = Mastodon.create_app("python", scopes=scopes, redirect_uris=oob, api_base_url=url)
m = Mastodon(client_id=client_id, client_secret=client_secret, api_base_url=url, ratelimit_method="throw")
page = requests.get(m.auth_request_url(redirect_uris=oob, scopes=scopes), timeout=10)
code = re.search(r"<code>([^<]+)</code>", page.text).group(1)
m.log_in(code=code, redirect_uri=oob, scopes=scopes)

me = m.account_verify_credentials()
assert me.acct == "alice", me
assert m.app_verify_credentials().name == "python"
assert m.ratelimit_limit == 300 and 0 < m.ratelimit_remaining < 300 and m.ratelimit_reset > 0
assert m.instance().uri == "mastodon.test"
assert m.instance_nodeinfo().software.name == "mastodon"

# A picture, and a video that is waited for.
picture = m.media_post(b"a picture", mime_type="image/png", description="a cat", focus=(0.5, -0.5))
assert picture.description == "a cat" and picture.meta.focus.x == 0.5, picture
video = m.media_post(b"a video", mime_type="video/mp4", synchronous=True)
assert video.url, video

# A post, once by its key.
text = "Xin chào @bob@example.social: https://example.com/a?b=c&d=e\n\nĐà Nẵng 🌊 #smi"
key = dict(idempotency_key="one", visibility="unlisted", spoiler_text="cats", language="vi", media_ids=[picture])
first = m.status_post(text, **key)
again = m.status_post(text, **key)
assert first.id == again.id
assert first.spoiler_text == "cats" and first.visibility == "unlisted" and first.language == "vi"
assert first.media_attachments[0].id == picture.id
assert first.mentions[0].acct == "bob@example.social"
assert m.status_source(first).text == text if hasattr(m, "status_source") else True

answer = m.status_post("and more", in_reply_to_id=first, media_ids=[video])
assert str(answer.in_reply_to_id) == str(first.id)
assert [s.id for s in m.status_context(first).descendants] == [answer.id]
poll = m.status_post("Which?", poll=m.make_poll(["this", "that"], expires_in=3600, multiple=True))
assert [o.title for o in poll.poll.options] == ["this", "that"] and poll.poll.multiple

# What is refused.
try:
    m.status_post("x" * 501)
    raise AssertionError("a text that is too long was taken")
except MastodonAPIError as e:
    assert e.args[1] == 422 and "character limit" in e.args[3], e.args
try:
    Mastodon(access_token="nonsense", api_base_url=url).account_verify_credentials()
    raise AssertionError("nonsense was taken for a token")
except MastodonUnauthorizedError:
    pass

# The list, page by page.
for i in range(3):
    m.status_post(f"number {i}")
listed = m.fetch_remaining(m.account_statuses(me, limit=2))
assert len({s.id for s in listed}) == 6, listed

m.status_favourite(first)
assert m.status(first).favourites_count == 1
m.status_delete(poll)
try:
    m.status(poll)
    raise AssertionError("a deleted post is there")
except MastodonNotFoundError:
    pass

m.revoke_access_token()

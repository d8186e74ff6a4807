// Starts a directory of identities (PLC), a personal data server (PDS) and an
// AppView, makes the accounts, and prints one line of JSON when all answer.
//
//   REAL_CONFIG='{"plcPort":…,"pdsPort":…,"pdsInnerPort":…,"appViewPort":…,
//     "schema":"…","accounts":[{"handle":"alice.test","email":"…","password":"…"}],
//     "tokenSeconds":0,"rateLimits":false}' \
//   DB_POSTGRES_URL=… REDIS_HOST=127.0.0.1:… node -r ./loopback.cjs network.cjs
//
// It ends on SIGTERM, on SIGINT, and when its standard input closes: when the
// test that started it is gone.
'use strict';
const path = require('node:path');

const config = JSON.parse(process.env.REAL_CONFIG);

// How long an access token lives is no setting of the PDS: a test that wants to
// see refreshes makes it shorter at the one place it is written.
if (config.tokenSeconds > 0) {
  const pds = path.dirname(require.resolve('@atproto/pds'));
  const provider = path.dirname(require.resolve('@atproto/oauth-provider', { paths: [pds] }));
  require(path.join(provider, 'constants.js')).TOKEN_MAX_AGE = config.tokenSeconds * 1000;
}

const { TestNetwork } = require('@atproto/dev-env');

async function createAccount(account) {
  const res = await fetch(`http://127.0.0.1:${config.pdsInnerPort}/xrpc/com.atproto.server.createAccount`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(account),
  });
  const body = await res.json();
  if (!res.ok) throw new Error(`creating ${account.handle}: ${res.status} ${JSON.stringify(body)}`);
  return { handle: body.handle, did: body.did };
}

async function main() {
  const network = await TestNetwork.create({
    dbPostgresSchema: config.schema,
    plc: { port: config.plcPort },
    pds: {
      port: config.pdsPort,
      hostname: 'localhost',
      enableDidDocWithSession: true,
      rateLimitsEnabled: config.rateLimits === true,
    },
    // The AppView reads the PDS behind the wire: what a test cuts is the
    // daemon's connection, not the network's own.
    bsky: { port: config.appViewPort, repoProvider: `ws://127.0.0.1:${config.pdsInnerPort}` },
  });

  let ending = false;
  const end = async (code) => {
    if (ending) return;
    ending = true;
    setTimeout(() => process.exit(code), 5000).unref();
    try {
      await network.close();
    } finally {
      process.exit(code);
    }
  };
  process.on('SIGTERM', () => end(0));
  process.on('SIGINT', () => end(0));
  process.stdin.on('end', () => end(0));
  process.stdin.resume();

  const accounts = [];
  for (const account of config.accounts) accounts.push(await createAccount(account));
  await network.processAll(30000);
  process.stdout.write(`${JSON.stringify({ ready: true, accounts })}\n`);
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});

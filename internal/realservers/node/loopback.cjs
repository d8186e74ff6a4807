// Preloaded into every Node process of the test network: a TCP server listens on
// 127.0.0.1 whatever address it asks for, and the server that asks for the port
// of REAL_PUBLIC_PORT gets REAL_INNER_PORT instead. So the PDS can call itself by
// the public port everywhere, while what listens there is the test's own wire.
'use strict';
const net = require('node:net');

const publicPort = Number(process.env.REAL_PUBLIC_PORT || 0);
const innerPort = Number(process.env.REAL_INNER_PORT || 0);
const listen = net.Server.prototype.listen;

function portOf(port) {
  return publicPort !== 0 && Number(port) === publicPort ? innerPort : Number(port);
}

net.Server.prototype.listen = function loopbackListen(...args) {
  const callback = args.find((a) => typeof a === 'function');
  const options = { host: '127.0.0.1', port: 0 };
  const first = args[0];
  if (first !== null && typeof first === 'object') {
    if (first.path !== undefined || first.fd !== undefined) return listen.apply(this, args);
    Object.assign(options, first, { host: '127.0.0.1' });
  } else if (first !== undefined && typeof first !== 'function') {
    if (!/^\d+$/.test(String(first))) return listen.apply(this, args); // a Unix socket
    options.port = Number(first);
    const backlog = args.slice(1).find((a) => typeof a === 'number');
    if (backlog !== undefined) options.backlog = backlog;
  }
  options.port = portOf(options.port);
  return callback ? listen.call(this, options, callback) : listen.call(this, options);
};

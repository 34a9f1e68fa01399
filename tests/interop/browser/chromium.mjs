// A page of ours in a headless Chromium, which ends with this process however that ends.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

const bundles = new URL('../../../target/interop/browser/', import.meta.url);
/** Encrypts and decrypts for `livekit-client`. */
const worker = new URL('./node_modules/livekit-client/dist/livekit-client.e2ee.worker.js', import.meta.url);
const head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">';
const blank = `${head}<body><script src="/script.js"></script>`;

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  // Host candidates on the loopback, as addresses.
  '--allow-loopback-in-peer-connection',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
];

export function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** An empty directory; a shell removes it once our end of its stdin is gone, and Chromium with it. */
function profile() {
  const path = mkdtempSync(join(tmpdir(), 'roomkey-chromium-'));
  const sweep = 'cat; sleep 2; rm -rf "$0"';
  const options = { stdio: ['pipe', 'ignore', 'ignore'], detached: true };
  const sweeper = spawn('/bin/sh', ['-c', sweep, path], options);
  sweeper.unref();
  sweeper.stdin.unref();
  return path;
}

async function serve(script) {
  const body = readFileSync(new URL(script, bundles));
  const server = createServer((request, response) => {
    const script = { '/script.js': body, '/worker.js': readFileSync(worker) }[request.url];
    const [type, content] = script ? ['text/javascript', script] : ['text/html', blank];
    response.writeHead(200, { 'content-type': type }).end(content);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Leaves WebRTC with ICE over TCP: of the other side's addresses it hears no others. */
function tcpAlone() {
  const connection = RTCPeerConnection.prototype;
  const { addIceCandidate, setRemoteDescription } = connection;
  connection.addIceCandidate = async function (candidate) {
    if (!candidate?.candidate || / tcp /i.test(candidate.candidate)) {
      return addIceCandidate.call(this, candidate);
    }
  };
  connection.setRemoteDescription = function ({ type, sdp }) {
    return setRemoteDescription.call(this, { type, sdp: sdp.replace(/a=candidate:.* udp .*\r\n/gi, '') });
  };
}

/** Opens a page that runs a bundle; what the page says with `window.say` is heard. */
export async function open(script, heard = say) {
  const browser = await puppeteer.launch({
    executablePath: process.env.ROOMKEY_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    // Through a pipe, Chromium ends when we do.
    pipe: true,
    userDataDir: profile(),
    args: flags,
  });
  browser.on('disconnected', () => process.exit(1));
  const page = await browser.newPage();
  if (process.env.ROOMKEY_VERBOSE) {
    page.on('console', (message) => console.error(`chromium: ${message.text()}`));
    page.on('pageerror', (error) => console.error(`chromium: ${error}`));
  }
  if (process.env.ROOMKEY_TRANSPORT === 'tcp') {
    await page.evaluateOnNewDocument(tcpAlone);
  }
  await page.exposeFunction('say', heard);
  await page.goto(await serve(script));
  return page;
}

// What a person does with the pages, in a real browser that runs no scripts. Called by ../browser.py with one argument:
// JSON of where the server is, which browser, where pictures go, and the id of a registered app.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const { url, second, pictures, browser: program, app } = JSON.parse(process.argv[2]);
const PASSWORD = "a long password";
const WIDTHS = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } };
const drawn = [];

const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });

async function person() {
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: WIDTHS.desktop });
  const page = await context.newPage();
  const foreign = [];
  page.on("request", (request) => {
    if (![url, second].some((ours) => request.url().startsWith(ours))) foreign.push(request.url());
  });
  page.foreign = foreign;
  page.setDefaultTimeout(10_000);
  return page;
}

// The page as it is now, at each width and in each scheme. Nothing may run over the edge.
async function picture(page, name) {
  for (const [width, size] of Object.entries(WIDTHS)) {
    for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${pictures}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      const whole = await page.locator("html").evaluate((html) => html.scrollWidth).catch(() => size.width);
      assert.ok(whole <= size.width, `${name} is ${whole} wide in a window of ${size.width}`);
    }
  }
  await page.setViewportSize(WIDTHS.desktop);
  drawn.push(name);
}

async function signIn(page, login, password = PASSWORD) {
  await page.goto(`${url}/sign-in`);
  await page.getByLabel("E-mail address or handle").fill(login);
  await page.getByLabel("Password").fill(password);
  await page.locator("main").getByRole("button", { name: "Sign in" }).click();
}

async function publish(page, text, warning = "") {
  await page.goto(`${url}/home`);
  await page.locator("textarea#text").fill(text);
  if (warning) {
    await page.getByText("Content warning").first().click();
    await page.locator("#warning").fill(warning);
  }
  await page.getByRole("button", { name: "Publish" }).click();
}

const stranger = await person();
await stranger.goto(url);
await picture(stranger, "landing-empty");
await stranger.goto(`${url}/sign-up`);
await picture(stranger, "sign-up");
await stranger.goto(`${url}/sign-in`);
await picture(stranger, "sign-in");
await stranger.goto(`${url}/@nobody`);
await picture(stranger, "not-found");

// A server with rules says them before anybody signs up.
await stranger.goto(second);
for (const rule of ["Be kind.", "Mark what is made"]) await stranger.getByRole("listitem").filter({ hasText: rule }).waitFor();
await picture(stranger, "landing-rules");
await stranger.getByRole("link", { name: "Join The second house" }).click();
await stranger.getByRole("listitem").filter({ hasText: "Be kind." }).waitFor();
await picture(stranger, "sign-up-rules");

// Bob writes first.
const bob = await person();
await signIn(bob, "bob", "a wrong password");
assert.equal(await bob.getByRole("alert").count(), 1);
assert.equal(await bob.getByLabel("E-mail address or handle").inputValue(), "bob", "what was typed stays");
await picture(bob, "sign-in-wrong");
await signIn(bob, "bob");
await publish(bob, "Hello from Bob. The river is high today, and the path along it is under water. #river https://example.org/a/very/long/path/that/goes/on/and/on/until/it/no/longer/fits/on/a/phone?and=more");
await publish(bob, "Everybody in the story dies.", "The end of a film");

// Alice signs up, and what was wrong is said beside what was typed.
const alice = await person();
await alice.goto(`${url}/sign-up`);
const fill = async (handle) => {
  await alice.getByLabel("Handle").fill(handle);
  await alice.getByLabel("E-mail address").fill("alice@example.org");
  await alice.getByLabel("Password").fill(PASSWORD);
  await alice.getByLabel("I agree to the rules").check();
  await alice.locator("main").getByRole("button", { name: "Sign up" }).click();
};
await fill("bob");
assert.equal(await alice.getByRole("alert").count(), 1);
assert.equal(await alice.getByLabel("E-mail address").inputValue(), "alice@example.org", "what was typed stays");
await picture(alice, "sign-up-wrong");
await fill("alice");
await alice.goto(`${url}/home`);
assert.equal(await alice.getByRole("article").count(), 0);
await picture(alice, "home-empty");

// She finds Bob on the landing page, follows him, and has his posts in her home.
await alice.goto(url);
await picture(alice, "landing");
await alice.goto(`${url}/@bob`);
await picture(alice, "profile-stranger");
await alice.getByRole("button", { name: "Follow" }).click();
await alice.goto(`${url}/home`);
assert.equal(await alice.getByRole("article").count(), 2, "Bob's posts are in Alice's home");
await publish(alice, "Thank you, @bob! Ünïcödé, العربية and 日本語 as well.");
await alice.goto(`${url}/home`);
assert.equal(await alice.getByRole("article").count(), 3);

// Like, boost, reply; the content warning opens without a script.
const of = (page, text) => page.getByRole("article").filter({ hasText: text }).first();
await of(alice, "The river is high").getByRole("button", { name: /^Like/ }).click();
await of(alice, "The river is high").getByRole("button", { name: /^Boost/ }).click();
await of(alice, "The river is high").getByRole("button", { name: /^Liked · 1/ }).waitFor();
await of(alice, "The river is high").getByRole("button", { name: /^Boosted · 1/ }).waitFor();
const hidden = alice.getByText("Everybody in the story dies.");
assert.equal(await hidden.isVisible(), false);
await alice.getByText("The end of a film").click();
assert.equal(await hidden.isVisible(), true);
await picture(alice, "home");
await of(alice, "The river is high").getByRole("link", { name: "Reply" }).click();
await alice.locator("textarea#text").fill("@bob Take the upper path.");
await alice.getByRole("button", { name: "Publish" }).click();
await of(alice, "Take the upper path").waitFor();
await bob.goto(`${url}/home`);
await of(bob, "The river is high").locator("time").click();
await of(bob, "Take the upper path").waitFor();
await picture(bob, "thread");
await bob.goto(`${url}/@bob`);
await picture(bob, "profile-own");

// A form of another session does nothing; its twin does.
await alice.goto(`${url}/home`);
const count = () => alice.getByRole("article").filter({ hasText: "written from elsewhere" }).count();
const send = (mark) => alice.request.post(`${url}/home`, {
  form: { mark, key: `k${mark}`, back: "/home", text: "written from elsewhere", visibility: "public" },
  headers: { Origin: url },
  maxRedirects: 0,
});
const mark = await alice.locator("input[name=mark]").first().inputValue();
assert.equal((await send("forged")).status(), 403);
await alice.goto(`${url}/home`);
assert.equal(await count(), 0, "a forged form has written");
assert.equal((await send(mark)).status(), 303);
await alice.goto(`${url}/home`);
assert.equal(await count(), 1);

// Deleting, and what is gone.
await of(alice, "written from elsewhere").getByRole("button", { name: "Delete" }).click();
await alice.goto(`${url}/home`);
assert.equal(await count(), 0);

// An app asks; she refuses, then allows.
const asks = `${url}/oauth/authorize?response_type=code&client_id=${app}&redirect_uri=urn:ietf:wg:oauth:2.0:oob&scope=read+write`;
await stranger.goto(asks);
await picture(stranger, "consent-sign-in");
await alice.goto(asks);
await picture(alice, "consent");
await alice.getByRole("button", { name: "Refuse" }).click();
await alice.getByText("You refused.").waitFor();
assert.equal(await alice.locator("code").count(), 0);
await alice.goto(asks);
await alice.getByRole("button", { name: "Allow" }).click();
assert.ok((await alice.locator("code").innerText()).length > 20);
await picture(alice, "consent-code");

// Out, and nothing is left.
await alice.goto(`${url}/home`);
await alice.getByRole("button", { name: "Sign out" }).click();
await alice.goto(`${url}/home`);
assert.equal(await alice.locator("textarea#text").count(), 0);
for (const page of [stranger, bob, alice]) assert.deepEqual(page.foreign, [], "a page asked somebody else");
await browser.close();
console.log(`browser: signed up, wrote, followed, saw it in home; ${drawn.length} pages drawn four times: ${drawn.join(", ")}`);

// Runs the tests of a file one after the other.

const [file, other] = new URL(import.meta.url).search.slice(1).split('&');

export const results = (async () => {
  const { tests, ...rest } = await import('/page/tests.js');
  rest.setOther(`http://127.0.0.1:${other}`);
  await import(`/page/${file}.js`);
  const results = [];
  for (const [name, test] of tests) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('it takes too long')), 120000);
    });
    try {
      await Promise.race([test(), late]);
      results.push({ name });
    } catch (error) {
      results.push({ name, error: `${error}\n${error.stack}` });
    }
    clearTimeout(timer);
    rest.cleanUp();
  }
  return results;
})();

if (!globalThis.document) results.then((all) => postMessage(all));

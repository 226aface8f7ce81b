// Vite as it comes, but that its own server hands on what is for the streams' server.

const target = process.env.FAULTS;

export default {
  server: {
    proxy: { '/s/': target, '/script/': target, '/log/': target },
    // Nothing changes here.
    watch: null,
  },
};

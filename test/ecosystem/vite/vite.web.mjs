export default { build: { rollupOptions: { input: 'web.html' } } };

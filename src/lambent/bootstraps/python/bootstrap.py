__import__("_lambent_runtime.loop").loop.main()

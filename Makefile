# Names for the scripts; there is nothing to make.
.PHONY: demo test lint ci
demo:
	scripts/demo
test:
	scripts/test
lint:
	scripts/lint
ci:
	bash .ci/run

# docker build -t latent-cot . && docker run --rm -it -p 127.0.0.1:8888:8888 latent-cot
# The address with its token is printed; inside the container JupyterLab listens to all, outside only this machine reaches it.
FROM python:3.12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home learner
USER learner
WORKDIR /home/learner/latent-cot
COPY --chown=learner . .
RUN make setup
EXPOSE 8888
CMD [".venv/bin/python", "-m", "jupyterlab", "--notebook-dir", "notebooks", "--ip", "0.0.0.0", "--no-browser"]

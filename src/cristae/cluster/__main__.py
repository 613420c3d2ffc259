"""`python -m cristae.cluster FILE` prints the script that `--cluster FILE` would submit for each worker."""

import sys
from pathlib import Path

from cristae.cluster.queue_file import job_script
from cristae.errors import CristaeError

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m cristae.cluster FILE")
    try:
        print(job_script(Path(sys.argv[1])))
    except CristaeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)

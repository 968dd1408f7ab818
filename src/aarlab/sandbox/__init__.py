"""Where untrusted code runs. Importing the package registers what ships."""

from aarlab.sandbox.bubblewrap import Bubblewrap as Bubblewrap
from aarlab.sandbox.directory import Directory as Directory
from aarlab.sandbox.docker import Docker as Docker
from aarlab.sandbox.examination import check_sandbox as check_sandbox
from aarlab.sandbox.sandbox import SANDBOXES as SANDBOXES

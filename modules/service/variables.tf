variable "name" {
  description = "Name of the service; its instances are called NAME-1, NAME-2 and so on."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.name))
    error_message = "The name must be lower-case letters, digits and dashes, and begin with a letter."
  }
}

variable "image" {
  description = "Image with an exact tag."
  type        = string

  validation {
    condition     = can(regex(":[^:]+$", var.image)) && !endswith(var.image, ":latest")
    error_message = "The image needs a tag, and not latest: nobody could say what runs."
  }
}

variable "replicas" {
  description = "How many instances."
  type        = number
  default     = 1

  validation {
    condition     = var.replicas >= 1 && var.replicas <= 10
    error_message = "The number of replicas must lie between 1 and 10."
  }
}

variable "subnets" {
  description = "The range of each zone, as the network module gives it."
  type        = map(string)
}

variable "settings" {
  description = "Lines of the configuration file."
  type        = map(string)
  default     = {}
}

variable "database_url" {
  description = "Where the database is, with its password; null for a service without one."
  type        = string
  default     = null
  sensitive   = true
}
